"""Whole images and what models see in them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """Where a model places a whole image."""

    space: str  # never compare values of two spaces
    model: str
    values: Float32[np.ndarray, " d"]  # of unit length
    width_px: int  # of the upright image
    height_px: int
    timings_ms: dict[str, float]
