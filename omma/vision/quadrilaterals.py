"""Quadrilaterals: outlines of flat things in photographs, and whether a card can look like that.

Corners come clockwise as the thing itself is read, from its own top left; x right, y down.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float64

LEAST_SIDE_PX = 12.0  # shorter, and nothing is to be recognised
LEAST_ANGLE = 22.0  # degrees; a card seen at 60 degrees from near by has 35
LARGEST_STRETCH = (
    3.2  # of width against height: a card tilted by 65 degrees has 2.4, and more near by
)
LARGEST_TAPER = 3.0  # of opposite sides: a card seen at 60 degrees from one card's height has 2.6

Corners = Float[np.ndarray, "4 2"]


def corners(width: float, height: float) -> Float64[np.ndarray, "4 2"]:
    """Of an upright picture of that size."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def is_card_like(outline: Corners, aspect: float) -> bool:
    """Whether a camera can see a card of ``aspect`` (width by height) like that.

    Convex, not mirrored, not degenerate, neither stretched nor tapered beyond any sensible tilt.
    """
    if not np.isfinite(outline).all():
        return False
    sides = np.roll(outline, -1, axis=0) - outline
    lengths = np.hypot(sides[:, 0], sides[:, 1])
    if lengths.min() < LEAST_SIDE_PX:
        return False
    turns = _cross(sides, np.roll(sides, -1, axis=0))
    sines = turns / (lengths * np.roll(lengths, -1))
    if sines.min() < np.sin(np.radians(LEAST_ANGLE)):
        return False
    taper = max(_ratio(lengths[0], lengths[2]), _ratio(lengths[1], lengths[3]))
    seen = (lengths[0] + lengths[2]) / (lengths[1] + lengths[3])
    return bool(taper <= LARGEST_TAPER and _ratio(seen, aspect) <= LARGEST_STRETCH)


def area(outline: Corners) -> float:
    """Square pixels; negative for one that is mirrored."""
    return float(_cross(outline, np.roll(outline, -1, axis=0)).sum() / 2)


def overlap(a: Corners, b: Corners) -> float:
    """Intersection over union of two convex outlines, 0 to 1."""
    if (a.max(axis=0) <= b.min(axis=0)).any() or (b.max(axis=0) <= a.min(axis=0)).any():
        return 0.0
    shared, _ = cv2.intersectConvexConvex(a.astype(np.float32), b.astype(np.float32))
    union = abs(area(a)) + abs(area(b)) - shared
    return float(shared / union) if union > 0 else 0.0


def contains(outline: Corners, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """Which points lie inside a convex outline that is not mirrored."""
    sides = np.roll(outline, -1, axis=0) - outline
    away = points[:, None, :] - outline[None]
    return np.asarray((_cross(sides[None], away) >= 0).all(axis=1), np.bool_)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _ratio(a: float, b: float) -> float:
    return max(a, b) / max(min(a, b), 1e-9)
