"""Boxes are ``x1, y1, x2, y2`` in pixels, half-open, origin top left."""

import numpy as np
from jaxtyping import Float32, Int64

TINY = np.finfo(np.float32).tiny  # divides nothing by nothing to nothing


def iou(a: Float32[np.ndarray, "n 4"], b: Float32[np.ndarray, "m 4"]) -> Float32[np.ndarray, "n m"]:
    """Intersection over union of every box in ``a`` with every box in ``b``, 0 to 1."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    intersection = sides[..., 0] * sides[..., 1]  # a product along an axis of two is slow
    union = area(a)[:, None] + area(b)[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def area(boxes: Float32[np.ndarray, "n 4"]) -> Float32[np.ndarray, " n"]:
    """Square pixels of every box; 0 for one that is inside out."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def nms(
    boxes: Float32[np.ndarray, "n 4"], scores: Float32[np.ndarray, " n"], max_iou: float
) -> Int64[np.ndarray, " k"]:
    """Choose the boxes to keep; return their indices, best score first.

    Greedy: a box is dropped when it overlaps a better kept box by more than ``max_iou``. The loop
    runs once per kept box, each time over all that follow, one row a coordinate: five times
    faster than `iou` over what is left.
    """
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = np.ascontiguousarray(boxes[order].T)
    sizes, stays = area(boxes[order]), np.ones(len(order), np.bool_)
    for best in range(len(order)):
        if not stays[best]:
            continue
        rest = slice(best + 1, None)
        width = np.minimum(x2[rest], x2[best]) - np.maximum(x1[rest], x1[best])
        height = np.minimum(y2[rest], y2[best]) - np.maximum(y1[rest], y1[best])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        union = np.maximum(sizes[best] + sizes[rest] - shared, TINY)
        stays[rest] &= shared / union <= max_iou
    return order[stays]


def clip(
    boxes: Float32[np.ndarray, "n 4"], *, width_px: int, height_px: int
) -> Float32[np.ndarray, "n 4"]:
    """Cut every box to the image; one that lies outside becomes empty, at the nearest edge."""
    limits = np.array([width_px, height_px, width_px, height_px], np.float32)
    return np.clip(boxes, np.float32(0), limits)
