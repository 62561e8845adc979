"""Which keypoints of a photograph may be which of an item: alike, and where they belong."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from omma.engines.cards.voting import Hypothesis
from omma.vision.homographies import Matrix, project

NEAR = 0.35  # of the card's diagonal: how far from where the pose says a keypoint may be at first
TURN = 50.0  # degrees that its angle may differ by
OCTAVES = 1.3  # that its size may
RATIO = 0.85  # of squared distances, to the next of the same item
FAR = 0.75  # of the squared length: descriptors farther apart than that are of different things
GUIDED_TURN = 35.0  # degrees that a keypoint may differ by from what the homography makes of it
GUIDED_OCTAVES = 0.8  # that its size may
LEAST_PX = 0.1  # of a keypoint's size, of which the logarithm is wanted
SQUARED_LENGTH = 512.0**2  # of a RootSIFT descriptor in bytes

Paired = tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]  # of the query, of the item


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Keypoints of the photo about a place, and those of an item."""

    distances: Float32[np.ndarray, "q n"]  # squared
    seen: Float32[np.ndarray, "q 4"]
    kept: np.ndarray  # (n, 4)
    size: tuple[float, float]  # width and height of the item's picture

    @classmethod
    def of(
        cls,
        seen: tuple[Float32[np.ndarray, "q 4"], Float32[np.ndarray, "q 128"]],
        kept: tuple[np.ndarray, UInt8[np.ndarray, "n 128"]],
        size: tuple[float, float],
    ) -> Self:
        """Of the places and descriptors of both."""
        return cls(_distances(seen[1], kept[1]), seen[0], kept[0], size)

    def by_pose(self, hypothesis: Hypothesis) -> Paired:
        """Those, nearest of each other, where the pose lets them be."""
        x, y, diagonal, angle = hypothesis.pose
        scale = diagonal / np.hypot(*self.size)
        turn = np.radians(angle)
        cosine, sine = np.cos(turn) * scale, np.sin(turn) * scale
        away = self.kept[:, :2] - np.array(self.size) / 2
        expected = np.stack(
            [
                x + cosine * away[:, 0] - sine * away[:, 1],
                y + sine * away[:, 0] + cosine * away[:, 1],
                np.log2(np.maximum(self.kept[:, 2] * scale, LEAST_PX)),
                self.kept[:, 3] + angle,
            ],
            axis=1,
        )
        return self._mutual(expected, (NEAR * diagonal, OCTAVES, TURN), RATIO)

    def by_homography(self, matrix: Matrix, tolerance: float) -> Paired:
        """Those, nearest of each other, that the homography brings ``tolerance`` px together."""
        expected = _carried(self.kept, matrix)
        return self._mutual(expected, (tolerance, GUIDED_OCTAVES, GUIDED_TURN), 1.0)

    def _mutual(
        self,
        expected: Float64[np.ndarray, "n 4"],
        within: tuple[float, float, float],
        ratio: float,
    ) -> Paired:
        """The nearest of each other among those ``within`` px, octaves and degrees of ``expected``.

        The nearest must be less than ``ratio`` as far as the next of the same query.
        """
        allowed = _allowed(self.seen, expected, within)
        left = np.where(allowed, self.distances, np.float32(np.inf))
        numbers, best = np.arange(len(left)), left.argmin(axis=1)
        nearest = left[numbers, best]
        right = (left.argmin(axis=0)[best] == numbers) & (nearest < FAR * SQUARED_LENGTH)
        queries = np.flatnonzero(right)
        if ratio < 1 and len(queries):
            second = np.partition(left[queries], 1, axis=1)[:, 1]
            queries = queries[nearest[queries] < ratio * second]
        return queries, best[queries]


def _distances(
    seen: Float32[np.ndarray, "q 128"], kept: UInt8[np.ndarray, "n 128"]
) -> Float32[np.ndarray, "q n"]:
    """Squared distances."""
    other = kept.astype(np.float32)
    squares = (seen**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None]
    return np.maximum(squares - 2 * seen @ other.T, 0)


def _carried(kept: np.ndarray, matrix: Matrix) -> Float64[np.ndarray, "n 4"]:
    """Places, log2 sizes and angles in degrees that the index' keypoints have in the view."""
    turn = np.radians(kept[:, 3])
    along = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    places = project(kept[:, :2], matrix)
    forward = project(kept[:, :2] + along, matrix) - places
    sideways = project(kept[:, :2] + across, matrix) - places
    angle = np.degrees(np.arctan2(forward[:, 1], forward[:, 0]))
    grown = np.abs(forward[:, 0] * sideways[:, 1] - forward[:, 1] * sideways[:, 0])
    growth = np.log2(np.maximum(kept[:, 2], LEAST_PX)) + np.log2(np.maximum(grown, 1e-6)) / 2
    return np.column_stack([places, growth, angle])


def _allowed(
    seen: Float32[np.ndarray, "q 4"],
    expected: Float64[np.ndarray, "n 4"],
    within: tuple[float, float, float],
) -> Bool[np.ndarray, "q n"]:
    """Which pairs; in products of thin matrices, several times as fast as pair by pair."""
    reach, octaves, degrees = within
    here, there = seen[:, :2] - expected[0, :2], expected[:, :2] - expected[0, :2]
    ones = np.ones(len(here)), np.ones(len(there))
    squares = (here**2).sum(axis=1), (there**2).sum(axis=1)
    apart = _product((squares[0], ones[0], *here.T), (ones[1], squares[1], *(-2 * there.T)))
    turns = np.radians(seen[:, 3]), np.radians(expected[:, 3])
    aligned = _product(*((np.cos(turn), np.sin(turn)) for turn in turns))
    sizes = np.log2(np.maximum(seen[:, 2], LEAST_PX))
    grown = _product((sizes, ones[0]), (ones[1], -expected[:, 2]))
    allowed = apart < reach**2
    allowed &= aligned > np.cos(np.radians(degrees))
    allowed &= np.abs(grown, out=grown) < octaves
    return allowed


def _product(left: Iterable[np.ndarray], right: Iterable[np.ndarray]) -> Float32[np.ndarray, "q n"]:
    """Of two matrices that are given by columns and by rows."""
    return np.stack([*left], axis=1).astype(np.float32) @ np.stack([*right]).astype(np.float32)
