"""Cuts faces out of images the way recognisers were trained to see them."""

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

# Where the eyes, nose and mouth corners lie in the 112x112 crops of the ArcFace paper
# (arXiv:1801.07698), as InsightFace publishes them.
ARCFACE_POINTS = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)
ARCFACE_SIDE = 112  # px

FACENET_SIDE = 160  # px
FACENET_MARGIN = 32  # px of the 160 that surround the box, both sides together

REMAP_LIMIT = 32_766  # px; OpenCV warps with 16-bit coordinates


def similarity_transforms(
    landmarks: Float32[np.ndarray, "n 5 2"], target: Float32[np.ndarray, "5 2"]
) -> Float64[np.ndarray, "n 2 3"]:
    """Rotation, scale and shift that bring each face's landmarks nearest to ``target``.

    Umeyama's least squares (doi:10.1109/34.88573), in its closed form for the plane: with points as
    complex numbers, the scaled rotation is one regression coefficient. Landmarks that all coincide
    have no direction or size: they are only shifted.
    """
    source = _as_complex(landmarks)
    goal = _as_complex(target)
    centre, goal_centre = source.mean(axis=1, keepdims=True), goal.mean()
    source = source - centre
    spread = (np.abs(source) ** 2).sum(axis=1)
    product = (source.conj() * (goal - goal_centre)).sum(axis=1)
    turn = np.divide(product, spread, out=np.ones_like(product), where=spread > 0)
    shift = goal_centre - turn * centre[:, 0]
    rows = [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
    return np.moveaxis(np.array(rows), 2, 0)


def align_faces(
    image: UInt8[np.ndarray, "h w 3"],
    landmarks: Float32[np.ndarray, "n 5 2"],
    size: int = ARCFACE_SIDE,
) -> UInt8[np.ndarray, "n size size 3"]:
    """Warp every face onto the ArcFace template, ``size`` px wide, black beyond the image.

    The pixels are those of InsightFace's ``norm_crop``: bilinear, straight from ``image``.
    """
    template = ARCFACE_POINTS * np.float32(size / ARCFACE_SIDE)
    transforms = similarity_transforms(landmarks, template)
    crops = np.empty((len(landmarks), size, size, 3), np.uint8)
    for transform, crop in zip(transforms, crops, strict=True):
        part, moved = _warpable(image, transform, size)
        cv2.warpAffine(part, moved, (size, size), dst=crop)
    return crops


def crop_box_margin(
    image: UInt8[np.ndarray, "h w 3"],
    box: Float32[np.ndarray, "4"],
    size: int = FACENET_SIDE,
    margin: int = FACENET_MARGIN,
) -> UInt8[np.ndarray, "size size 3"]:
    """Cut a box with a margin and stretch it to a square, as FaceNet's training crops were cut.

    ``margin`` is in px of the result, both sides together; the grown box is clipped to the image.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = grow(box, margin / (size - margin)).tolist()
    left, top = _inside(x1, width - 1), _inside(y1, height - 1)
    right, bottom = max(left + 1, _inside(x2, width)), max(top + 1, _inside(y2, height))
    crop = image[top:bottom, left:right]
    shrinks = crop.shape[0] >= size and crop.shape[1] >= size
    return cv2.resize(
        crop, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def crop_boxes_margin(
    image: UInt8[np.ndarray, "h w 3"],
    boxes: Float32[np.ndarray, "n 4"],
    size: int = FACENET_SIDE,
    margin: int = FACENET_MARGIN,
) -> UInt8[np.ndarray, "n size size 3"]:
    """`crop_box_margin` of every box."""
    crops = np.empty((len(boxes), size, size, 3), np.uint8)
    for box, crop in zip(boxes, crops, strict=True):
        crop[:] = crop_box_margin(image, box, size, margin)
    return crops


def grow(box: Float32[np.ndarray, "4"], by: float) -> Float32[np.ndarray, "4"]:
    """Widen a box about its centre, by this part of its sides."""
    half = (box[2:] - box[:2]) * np.float32(by / 2)
    return np.concatenate([box[:2] - half, box[2:] + half])


def _as_complex(points: Float32[np.ndarray, "*n 2"]) -> np.ndarray:
    x, y = np.moveaxis(points.astype(np.float64), -1, 0)
    return x + 1j * y


def _inside(value: float, limit: int) -> int:
    return int(min(max(value, 0), limit))


def _warpable(
    image: UInt8[np.ndarray, "h w 3"], transform: Float64[np.ndarray, "2 3"], size: int
) -> tuple[UInt8[np.ndarray, "hh ww 3"], Float64[np.ndarray, "2 3"]]:
    """The part of an image too long to warp that shows in the crop, and the transform from it."""
    if max(image.shape[:2]) < REMAP_LIMIT:
        return image, transform
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]], np.float64)
    seen = corners @ cv2.invertAffineTransform(transform).T
    limits = np.array(image.shape[1::-1])
    low = np.clip(np.floor(seen.min(axis=0)) - 1, 0, limits - 1).astype(int)
    high = np.minimum(np.clip(np.ceil(seen.max(axis=0)) + 1, low + 1, limits), low + REMAP_LIMIT)
    part = image[low[1] : int(high[1]), low[0] : int(high[0])]
    moved = transform.copy()
    moved[:, 2] += transform[:, :2] @ low
    return part, moved
