"""The detector's input: an image scaled into a canvas that detectors can divide."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

STRIDE = 32  # px; the coarsest grid of our detectors, so every canvas side is a multiple

CanvasPolicy = Literal["tight", "square"]


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """An image at the top left of a canvas, zeros elsewhere, and how far it was shrunk."""

    pixels: UInt8[np.ndarray, "h w 3"]
    scale_x: float  # canvas px per image px, at most 1
    scale_y: float  # differs from scale_x by the rounding of one side to whole pixels

    def to_image(self, points: Float32[np.ndarray, "*n 2"]) -> Float32[np.ndarray, "*n 2"]:
        """Map points from canvas pixels to pixels of the image that was put in."""
        return points / np.array([self.scale_x, self.scale_y], np.float32)


def choose_side(
    det_size: int | Literal["auto"], *, width_px: int, height_px: int, largest: int = 1280
) -> int:
    """Longer side of the canvas in px; ``auto`` is the smallest of 320, 640, 1280 that fits."""
    if det_size != "auto":
        return det_size
    side = 320
    while side < min(max(width_px, height_px), largest):
        side *= 2
    return side


def letterbox(
    image: UInt8[np.ndarray, "h w 3"], det_size: int, policy: CanvasPolicy = "tight"
) -> Canvas:
    """Shrink ``image`` until its longer side is ``det_size``; never enlarge it.

    ``square`` canvases all have one shape, whatever the image's; ``tight`` ones end at the next
    multiple of 32 px. Bilinear, sizes rounded down, as InsightFace's detectors are fed.
    """
    height, width = image.shape[:2]
    new_width, new_height = _fit(width, height, det_size)
    if (new_width, new_height) != (width, height):
        image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    canvas_wh = (det_size, det_size) if policy == "square" else (new_width, new_height)
    pixels = np.zeros((_round_up(canvas_wh[1]), _round_up(canvas_wh[0]), 3), np.uint8)
    pixels[:new_height, :new_width] = image
    return Canvas(pixels, scale_x=new_width / width, scale_y=new_height / height)


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    longer = max(width, height)
    if longer <= side:
        return width, height
    return max(1, width * side // longer), max(1, height * side // longer)


def _round_up(side: int) -> int:
    return -(-side // STRIDE) * STRIDE
