"""Embeddings as vectors."""

import numpy as np
from jaxtyping import Float32


def l2_normalise(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Scale every row to length 1; a row of zeros stays zeros."""
    peaks = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scaled = _divide(vectors, peaks)  # squares of large or tiny numbers leave float32
    return _divide(scaled, np.linalg.norm(scaled, axis=1, keepdims=True))


def _divide(
    vectors: Float32[np.ndarray, "n d"], by: Float32[np.ndarray, "n 1"]
) -> Float32[np.ndarray, "n d"]:
    return np.divide(vectors, by, out=np.zeros_like(vectors), where=by > 0)
