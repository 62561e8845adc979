"""Keypoints and their descriptors: SIFT, as RootSIFT in bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

CONTRAST = 0.02  # of an extremum; half of the paper's, for dark cards and flat art
SCALE = 512  # of RootSIFT in bytes: no gradient of a real descriptor reaches a quarter of the sum
EPSILON = 1e-7
GRID = (11, 8)  # rows and columns that keypoints are spread over: cells of 8 mm on a card
DIMENSION = 128
# px that SIFT leaves alone at each edge of the image, which it doubles: one with a side of no more
# has no keypoint, and OpenCV counts no octave for the least of them.
BORDER_PX = 5


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """What SIFT sees in an image; strongest first."""

    places: Float32[np.ndarray, "n 4"]  # x, y, size in px of the image; angle in degrees
    descriptors: UInt8[np.ndarray, "n 128"]

    def __len__(self) -> int:
        return len(self.places)


def find_strongest(grey: UInt8[np.ndarray, "h w"], most: int) -> Keypoints:
    """The ``most`` keypoints of highest contrast: one pass, for queries."""
    if min(grey.shape) <= BORDER_PX:
        return _keypoints((), None)
    found, descriptors = _sift(most).detectAndCompute(grey, None)
    return _keypoints(found, descriptors)


def find_spread(grey: UInt8[np.ndarray, "h w"], most: int) -> Keypoints:
    """The ``most`` keypoints that see most of the picture, for an index.

    They are ranked by contrast and size, cell by cell of a grid: large ones survive blur and
    small photographs, and a corner of the card is seen when fingers hide the rest. On severe
    distortions that doubles the right nearest neighbours (18 of 300 for 9 by contrast alone).
    """
    if min(grey.shape) <= BORDER_PX:
        return _keypoints((), None)
    sift = _sift(0)
    found = sift.detect(grey, None)
    chosen = spread(_places(found), _responses(found), grey.shape[:2], most)
    kept, descriptors = sift.compute(grey, [found[i] for i in chosen])  # pyright: ignore[reportUnknownArgumentType]
    return _keypoints(kept, descriptors)


def spread(
    places: Float32[np.ndarray, "n 4"],
    responses: Float32[np.ndarray, " n"],
    shape: tuple[int, int],
    most: int,
) -> Int64[np.ndarray, " k"]:
    """Which ``most`` to keep: the best of every cell, then the second of every cell, and so on."""
    strength = responses * places[:, 2]
    order = np.argsort(-strength, kind="stable")
    rows, columns = GRID
    row = np.clip(places[order, 1] * rows / shape[0], 0, rows - 1).astype(np.int64)
    column = np.clip(places[order, 0] * columns / shape[1], 0, columns - 1).astype(np.int64)
    rank = _rank_in_group(row * columns + column)
    return order[np.argsort(rank, kind="stable")[:most]]


def to_root_sift(descriptors: Float32[np.ndarray, "n 128"]) -> UInt8[np.ndarray, "n 128"]:
    """Square roots of L1-unit descriptors (Arandjelovic and Zisserman, 2012), times 512."""
    sums = descriptors.sum(axis=1, keepdims=True) + np.float32(EPSILON)
    roots = np.sqrt(descriptors / sums) * np.float32(SCALE)
    return np.clip(np.rint(roots), 0, np.iinfo(np.uint8).max).astype(np.uint8)


def _sift(most: int) -> cv2.SIFT:
    return cv2.SIFT.create(nfeatures=most, contrastThreshold=CONTRAST, enable_precise_upscale=True)


def _keypoints(found: Sequence[cv2.KeyPoint], descriptors: np.ndarray | None) -> Keypoints:
    if descriptors is None or not len(found):
        return Keypoints(np.zeros((0, 4), np.float32), np.zeros((0, DIMENSION), np.uint8))
    return Keypoints(_places(found), to_root_sift(descriptors))


def _places(found: Sequence[cv2.KeyPoint]) -> Float32[np.ndarray, "n 4"]:
    rows = [(*point.pt, point.size, point.angle) for point in found]
    return np.array(rows, np.float32).reshape(-1, 4)


def _responses(found: Sequence[cv2.KeyPoint]) -> Float32[np.ndarray, " n"]:
    return np.array([point.response for point in found], np.float32)


def _rank_in_group(groups: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """How many of the same group came before each."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], groups[order], side="left")
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(groups)) - starts
    return ranks
