"""Views of a photograph: as it is, larger, or as if the camera had moved."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from omma.domain.cards import RecogniseOptions
from omma.engines.cards.options import CardEngineOptions
from omma.vision.contrast import even_lightness, fit_longer
from omma.vision.homographies import Matrix, scaling
from omma.vision.keypoints import Keypoints, find_spread, find_strongest

ENLARGE = 2.0  # at most; more shows nothing new
SQUASH = 0.55  # undoes, one way against the other, a tilt of 57 degrees (ASIFT, Morel and Yu, 2009)
DIRECTIONS = (0.0, 45.0, 90.0, 135.0)  # degrees


@dataclass(frozen=True, slots=True)
class Glance:
    """How to look at a photograph."""

    side_px: int  # longer side
    keypoints: int  # most of them
    squash: float | None = None  # the direction, in degrees, in which it is squashed
    is_spread: bool = False  # all over the photograph: a bright table would outdo a dark card


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What one glance sees."""

    keypoints: Keypoints  # px of the view
    grey: UInt8[np.ndarray, "h w"]
    to_photo: Matrix  # from px of the view


def plan(asked: RecogniseOptions, options: CardEngineOptions) -> list[list[Glance]]:
    """Glances in attempts: a further attempt is for those where no card was seen."""
    if asked.is_crop:
        first = Glance(options.crop_px, options.crop_keypoints)
        second = Glance(options.photo_px, options.photo_keypoints)
    elif asked.max_cards == 1:
        first = Glance(options.photo_px, options.photo_keypoints)
        second = Glance(options.table_px, options.table_keypoints)
    else:
        first = Glance(options.table_px, options.table_keypoints, is_spread=True)
        second = Glance(options.photo_px, options.table_keypoints)
    side_px = min(first.side_px * 5 // 4, options.table_px)
    tilted = [Glance(side_px, first.keypoints, angle) for angle in DIRECTIONS]
    return [[first], [second], tilted]


def look(image: UInt8[np.ndarray, "h w 3"], glance: Glance) -> View:
    """What is seen of an RGB photograph."""
    small, _ = fit_longer(image, glance.side_px, enlarge=ENLARGE)
    shrunk = scaling(small.shape[1] / image.shape[1], small.shape[0] / image.shape[0])
    if glance.squash is not None:
        small, moved = _squash(small, glance.squash)
        shrunk = moved @ shrunk
    find = find_spread if glance.is_spread else find_strongest
    keypoints = find(even_lightness(small), glance.keypoints)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return View(keypoints, grey, np.linalg.inv(shrunk))


def _squash(
    image: UInt8[np.ndarray, "h w 3"], angle: float
) -> tuple[UInt8[np.ndarray, "hh ww 3"], Matrix]:
    """The image with one direction shortened, smoothed in that direction before."""
    height, width = image.shape[:2]
    turn = np.radians(angle)
    along = np.array([np.cos(turn), np.sin(turn)])
    linear = np.eye(2) - (1 - SQUASH) * np.outer(along, along)
    ends = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ linear.T
    low, high = ends.min(axis=0), ends.max(axis=0)
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, -low
    wh = tuple(int(side) for side in np.maximum(np.ceil(high - low), 1))
    smooth = cv2.GaussianBlur(image, (0, 0), 0.4 / SQUASH)
    return cv2.warpAffine(smooth, matrix[:2], wh, borderMode=cv2.BORDER_REPLICATE), matrix
