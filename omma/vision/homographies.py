"""Homographies: how a flat picture lies in a photograph."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

LEAST_MATCHES = 5  # four fit any homography
ITERATIONS = 400
CONFIDENCE = 0.995

Matrix = Float64[np.ndarray, "3 3"]


def fit_robustly(
    source: Float32[np.ndarray, "n 2"], target: Float32[np.ndarray, "n 2"], max_error_px: float
) -> tuple[Matrix, Bool[np.ndarray, " n"]] | None:
    """The homography most matches agree on (MAGSAC++), and which do; None where none is found.

    ``max_error_px`` is in pixels of the target.
    """
    if len(source) < LEAST_MATCHES:
        return None
    try:
        matrix, mask = cv2.findHomography(
            source,
            target,
            cv2.USAC_MAGSAC,
            max_error_px,
            maxIters=ITERATIONS,
            confidence=CONFIDENCE,
        )
    except cv2.error:  # degenerate samples, by version
        return None
    if matrix is None or not np.isfinite(matrix).all():  # pyright: ignore[reportUnnecessaryComparison]
        return None
    return np.asarray(matrix, np.float64), np.asarray(mask).ravel().astype(np.bool_)


def refit(source: Float32[np.ndarray, "n 2"], target: Float32[np.ndarray, "n 2"]) -> Matrix | None:
    """The least-squares homography of matches that are all right."""
    if len(source) < LEAST_MATCHES:
        return None
    matrix, _ = cv2.findHomography(source, target, 0)
    if matrix is None or not np.isfinite(matrix).all():  # pyright: ignore[reportUnnecessaryComparison]
        return None
    return np.asarray(matrix, np.float64)


def project(points: Float[np.ndarray, "n 2"], matrix: Matrix) -> Float64[np.ndarray, "n 2"]:
    """Where points come to lie; not a number for those behind the camera."""
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    depth = np.where(moved[:, 2] * np.sign(matrix[2, 2]) > 1e-9, moved[:, 2], np.nan)  # noqa: PLR2004 - the horizon
    return (moved[:, :2] / depth[:, None]).astype(np.float64)


def scaling(x: float, y: float | None = None) -> Matrix:
    """Multiplies x and y."""
    return np.diag([x, x if y is None else y, 1.0])
