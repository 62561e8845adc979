"""What the face service needs from face models, near and far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from omma.domain.errors import OmmaError
from omma.domain.faces import Detection, DetectOptions, Lane


class FaceDetector(Protocol):
    """Finds the faces of encoded images; answers or fails each image by itself."""

    async def detect(
        self, images: Sequence[bytes], options: DetectOptions, *, lane: Lane = Lane.INTERACTIVE
    ) -> list[Detection | OmmaError]:
        """One detection, or the reason why not, per image in the order given."""
        ...


class FaceEmbedder(Protocol):
    """Turns aligned crops into embeddings of one recogniser."""

    async def embed(
        self, crops: UInt8[np.ndarray, "n h w 3"], *, lane: Lane = Lane.INTERACTIVE
    ) -> Float32[np.ndarray, "n d"]:
        """Unit vectors, one per crop, in the order given; ``(0, d)`` for no crops."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Faces as a detector sees them, best score first, in pixels of its input canvas."""

    boxes: Float32[np.ndarray, "n 4"]
    landmarks: Float32[np.ndarray, "n 5 2"]
    scores: Float32[np.ndarray, " n"]


class DetectorEngine(Protocol):
    """A face detector in this process: sync, batch in, batch out, safe to call from threads."""

    def run(
        self, canvases: UInt8[np.ndarray, "n h w 3"], min_scores: Sequence[float]
    ) -> list[Candidates]:
        """Overlaps removed, one `Candidates` per canvas; sides are multiples of 32 px.

        ``min_scores`` has one threshold per canvas: who asks for less does not cost others.
        """
        ...


class EmbedderEngine(Protocol):
    """A face recogniser in this process: sync, batch in, batch out, safe to call from threads."""

    def run(self, crops: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors, one per crop."""
        ...
