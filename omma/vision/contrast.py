"""Contrast: what light and cameras did to a picture, evened out before features are looked for."""

import cv2
import numpy as np
from jaxtyping import UInt8

CLIP = 2.0  # of the histogram, in mean bin heights; more raises noise with the picture
TILES = (8, 8)  # each evened out by itself: a shadow falls on some of them
LIGHTNESS = 0  # the first plane of LAB


def even_lightness(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """Lightness of an RGB image (L of LAB), its contrast evened out tile by tile (CLAHE)."""
    lightness = cv2.extractChannel(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), LIGHTNESS)
    return cv2.createCLAHE(CLIP, TILES).apply(lightness)


def fit_longer(
    image: UInt8[np.ndarray, "h w 3"], side_px: int, *, enlarge: float = 1.0
) -> tuple[UInt8[np.ndarray, "hh ww 3"], float]:
    """The image with its longer side at ``side_px``, and what its pixels were multiplied by.

    It grows no larger than ``enlarge`` times; its shorter side has at least a pixel.
    """
    height, width = image.shape[:2]
    scale = min(side_px / max(height, width), enlarge)
    wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    if wh == (width, height):
        return image, 1.0
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, wh, interpolation=how), scale
