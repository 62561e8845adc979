"""What a face is, and what is asked and answered about the faces of an image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from jaxtyping import Float32, UInt8

from omma.domain.models import Alignment, DetSize

LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


class Lane(StrEnum):
    """Whose work goes first when an engine is busy."""

    INTERACTIVE = "interactive"
    JOB = "job"


@dataclass(frozen=True, slots=True, eq=False)  # arrays do not compare to one bool
class Face:
    """One face in one image, in pixels of the upright original."""

    box: Float32[np.ndarray, "4"]  # x1, y1, x2, y2, clipped to the image
    landmarks: Float32[np.ndarray, "5 2"]  # in the order of LANDMARK_NAMES
    score: float  # detector confidence, 0 to 1
    quality: float  # fitness for recognition, 0 to 1: size, sharpness, pose, exposure


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """What to look for in an image, and what to cut out of it."""

    min_score: float = 0.5
    max_faces: int | None = None  # the best-scored ones; None keeps all
    det_size: DetSize = 640
    alignments: tuple[Alignment, ...] = ()
    crops: bool = False  # also a JPEG of every face for people to look at


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """The faces of one image, best score first, with what was asked to be cut out."""

    width_px: int  # of the upright image
    height_px: int
    faces: tuple[Face, ...]
    aligned: Mapping[Alignment, UInt8[np.ndarray, "n h w 3"]] = field(
        default_factory=dict[Alignment, UInt8[np.ndarray, "n h w 3"]]
    )
    crops: tuple[bytes, ...] = ()  # JPEG, one per face, when asked for
    timings_ms: Mapping[str, float] = field(default_factory=dict[str, float])  # decode, detect


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A unit vector that compares only within its ``space``."""

    space: str
    values: Float32[np.ndarray, " d"]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedFaces:
    """A detection with, for each face and recogniser by name, its embedding."""

    detection: Detection
    embeddings: tuple[Mapping[str, Embedding], ...]  # one mapping per face
    timings_ms: Mapping[str, float]
