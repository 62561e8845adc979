"""Face detection and embedding as HTTP asks for and answers them."""

from typing import Annotated, Any, Self

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, BeforeValidator, Field

from omma.domain.faces import LANDMARK_NAMES, DetSize
from omma.wire.embeddings import Embedding, Encoding
from omma.wire.images import Size
from omma.wire.operations import Params
from omma.wire.problems import Problem

UnitFraction = Annotated[float, Field(ge=0, le=1)]
Point = tuple[float, float]  # x, y
PX_DECIMALS = 2
SCORE_DECIMALS = 4


def _number_if_digits(value: Any) -> Any:
    """Query strings spell 640 as text."""
    return int(value) if isinstance(value, str) and value in {"320", "640", "1280"} else value


def _split_names(value: Any) -> Any:
    """``models=a,b`` means the same as ``models=a&models=b``."""
    parts = [value] if isinstance(value, str) else value
    return [name.strip() for part in parts for name in str(part).split(",") if name.strip()]


ModelNames = Annotated[
    tuple[str, ...],
    BeforeValidator(_split_names),
    Field(description="Recognisers, repeated or separated by commas; none means the default."),
]


class FaceParams(Params):
    """Which faces are wanted; what is left out takes the server's default."""

    min_score: UnitFraction | None = Field(
        default=None, description="Drop faces that the detector is less sure of."
    )
    max_faces: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="Answer only the best-scored faces."
    )
    det_size: Annotated[DetSize, BeforeValidator(_number_if_digits)] | None = Field(
        default=None,
        description="Longer side of the detector's input in px; larger finds smaller faces.",
    )


class DetectParams(FaceParams):
    """The query of a detection."""

    crops: bool = Field(default=False, description="Also answer a JPEG of every face, in base64.")


class EmbedParams(DetectParams):
    """The query of an embedding."""

    models: ModelNames = ()
    encoding: Encoding = Field(
        default="float", description="Numbers, or base64 of little-endian float32."
    )


class Bbox(BaseModel):
    """In pixels of the upright image, clipped to it."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def of(cls, box: Float32[np.ndarray, "4"]) -> Self:
        """The box ``x1, y1, x2, y2`` as it is written."""
        x1, y1, x2, y2 = (round(value, PX_DECIMALS) for value in box.tolist())
        width, height = round(x2 - x1, PX_DECIMALS), round(y2 - y1, PX_DECIMALS)
        return cls(x=x1, y=y1, width=width, height=height)


class Landmarks(BaseModel):
    """Five points as [x, y], in pixels of the upright image."""

    left_eye: Point
    right_eye: Point
    nose: Point
    left_mouth: Point
    right_mouth: Point

    @classmethod
    def of(cls, points: Float32[np.ndarray, "5 2"]) -> Self:
        """Five points in the order of `LANDMARK_NAMES` as they are written."""
        rounded = ((round(x, PX_DECIMALS), round(y, PX_DECIMALS)) for x, y in points.tolist())
        return cls(**dict(zip(LANDMARK_NAMES, rounded, strict=True)))


class FaceEmbedding(Embedding):
    """What one recogniser says of one face."""


class DetectedFace(BaseModel):
    """One face."""

    face_index: int = Field(description="Place by falling confidence, from 0.")
    bbox: Bbox
    confidence: UnitFraction
    quality: UnitFraction = Field(
        description="Fitness for recognition, from size, sharpness, pose and exposure."
    )
    landmarks: Landmarks
    crop: str | None = Field(default=None, description="JPEG in base64, when asked for.")


class EmbeddedFace(DetectedFace):
    """One face with its embeddings, by recogniser."""

    embeddings: dict[str, FaceEmbedding]


class DetectAnswer(BaseModel):
    """The faces of one image, best first."""

    image: Size
    model: str = Field(description="The detector.")
    faces: list[DetectedFace]
    timings_ms: dict[str, float]


class EmbedAnswer(BaseModel):
    """The faces of one image with their embeddings, best first."""

    image: Size
    model: str = Field(description="The detector.")
    faces: list[EmbeddedFace]
    timings_ms: dict[str, float]


class BatchItem(BaseModel):
    """What became of one image: exactly one of ``result`` and ``error``."""

    index: int = Field(description="Place of the image in the request, from 0.")
    filename: str | None = None
    result: EmbedAnswer | None = None
    error: Problem | None = None


class BatchAnswer(BaseModel):
    """One item per image, in the order sent."""

    results: list[BatchItem]
    timings_ms: dict[str, float]
