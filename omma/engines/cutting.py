"""Cuts found faces out of a photo, decoding it no finer than the smallest of them needs."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from omma.domain.faces import Alignment
from omma.vision.align import (
    ARCFACE_POINTS,
    FACENET_MARGIN,
    FACENET_SIDE,
    align_faces,
    crop_boxes_margin,
    grow,
    similarity_transforms,
)
from omma.vision.images import ImageHeader, decode, origin_of

CROP_MARGIN = 0.3  # of the box's sides, so that people see hair and chin
CROP_SIDE_PX = 320  # longer side of a crop for people, at most
CROP_QUALITY = 90  # of 100; what JPEG adds is not seen


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """An encoded image and its pixels, each side divided by ``reduction``.

    Places are given and answered in pixels of the upright original.
    """

    data: bytes
    header: ImageHeader
    pixels: UInt8[np.ndarray, "h w 3"]
    reduction: int

    def at(self, reduction: int) -> "Photo":
        """The same photo, decoded again where a finer reduction is asked for."""
        reduction = min(reduction, self.reduction)
        if reduction == self.reduction and self.pixels.size:
            return self
        pixels = decode(self.data, self.header, reduction=reduction)
        return Photo(self.data, self.header, pixels, reduction)

    def without_pixels(self) -> "Photo":
        """The same photo as it waits: `at` decodes it again."""
        return Photo(self.data, self.header, np.empty((0, 0, 3), np.uint8), self.reduction)

    def to_original(self, points: Float32[np.ndarray, "*n 2"]) -> Float32[np.ndarray, "*n 2"]:
        """Map points from `pixels` to the original."""
        return points * np.float32(self.reduction) + self._origin

    def to_pixels(self, points: Float32[np.ndarray, "*n 2"]) -> Float32[np.ndarray, "*n 2"]:
        """Map points from the original to `pixels`."""
        return (points - self._origin) / np.float32(self.reduction)

    @property
    def _origin(self) -> Float32[np.ndarray, "2"]:
        return np.array(origin_of(self.header, self.reduction), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where faces are, in pixels of the upright original."""

    boxes: Float32[np.ndarray, "n 4"]
    landmarks: Float32[np.ndarray, "n 5 2"]


def reduction_needed(places: Places, alignments: tuple[Alignment, ...]) -> int:
    """Coarsest reduction, 1 to 8, of which no crop of these faces must be enlarged.

    A face smaller than its crop asks for the original: there is nothing finer.
    """
    allowed = [8.0, *_arcface_shrinks(places)]
    if Alignment.FACENET_160 in alignments:
        sides = places.boxes[:, 2:] - places.boxes[:, :2]
        allowed += list(sides.min(axis=1) / (FACENET_SIDE - FACENET_MARGIN))
    return next((r for r in (8, 4, 2) if r <= min(allowed)), 1)


def cut(photo: Photo, places: Places, alignment: Alignment) -> UInt8[np.ndarray, "n h w 3"]:
    """Every face as recognisers of this ``alignment`` want it."""
    match alignment:
        case Alignment.ARCFACE_112:
            return align_faces(photo.pixels, photo.to_pixels(places.landmarks))
        case Alignment.FACENET_160:
            corners = photo.to_pixels(places.boxes.reshape(-1, 2))
            return crop_boxes_margin(photo.pixels, corners.reshape(-1, 4))


def jpeg_crop(photo: Photo, box: Float32[np.ndarray, "4"]) -> bytes:
    """The face with a margin as a JPEG of at most `CROP_SIDE_PX`, for people to look at."""
    height, width = photo.pixels.shape[:2]
    first, last = photo.to_pixels(grow(box, CROP_MARGIN).reshape(2, 2))
    left, top = np.clip(np.floor(first), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(last), (left + 1, top + 1), (width, height)).astype(int)
    crop = photo.pixels[top:bottom, left:right]
    shrink = CROP_SIDE_PX / max(crop.shape[:2])
    if shrink < 1:
        wh = (max(1, round(crop.shape[1] * shrink)), max(1, round(crop.shape[0] * shrink)))
        crop = np.asarray(cv2.resize(crop, wh, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, CROP_QUALITY])
    return encoded.tobytes()


def _arcface_shrinks(places: Places) -> Float32[np.ndarray, " n"]:
    """How many pixels of the original become one of the aligned crop, per face."""
    transforms = similarity_transforms(places.landmarks, ARCFACE_POINTS)
    enlarge = np.hypot(transforms[:, 0, 0], transforms[:, 1, 0])
    return (1 / np.maximum(enlarge, np.finfo(np.float32).tiny)).astype(np.float32)
