"""Which items a picture's nearest descriptors speak for, and in which pose of the card."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from omma.engines.cards.files import IndexFiles

LEAST_WEIGHT = 0.04  # of a match; below it any other item would do as well
ANGLE_BIN = 45.0  # degrees; a tilt turns what it sees by up to 20
SCALE_BIN = 1.0  # octaves; a tilt of 60 degrees halves one direction
PLACE_BIN = 0.5  # of the card's diagonal, where the pose says that its centre is
SAME_PLACE = 0.35  # of the diagonal: poses of one item nearer than that are one
LEAST_SEEDS = 4  # keypoints that agree; severely distorted cards among 30,000 had 8 and more
ITEMS_PER_HYPOTHESIS = 16  # whose poses are compared
PEAKS_PER_HYPOTHESIS = 12  # neighbouring bins share votes: about so many peaks are one


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Query keypoints with what they may be of the index; one row a pair."""

    query: Int64[np.ndarray, " m"]
    row: Int64[np.ndarray, " m"]  # of the index
    item: Int64[np.ndarray, " m"]
    weight: Float32[np.ndarray, " m"]  # 0 to 1: how much nearer than what other items have
    pose: Float64[np.ndarray, "m 4"]  # x, y of the card's centre and its diagonal in px; degrees

    def take(self, chosen: np.ndarray) -> "Matches":
        """Some of them."""
        return Matches(
            self.query[chosen],
            self.row[chosen],
            self.item[chosen],
            self.weight[chosen],
            self.pose[chosen],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis:
    """An item that may lie somewhere."""

    item: int
    votes: float
    pose: Float64[np.ndarray, " 4"]  # as in `Matches`
    seeds: Int64[np.ndarray, " s"]  # rows of the matches that agree on it


def match(
    places: Float32[np.ndarray, "q 4"],
    distances: Float32[np.ndarray, "q k"],
    numbers: Int64[np.ndarray, "q k"],
    files: IndexFiles,
) -> Matches:
    """Pairs that say something.

    A pair weighs by how much nearer it is than the query's farthest neighbour: what all cards
    have, frames and letters, has neighbours in many items at one distance, and weighs nothing.
    """
    farthest = np.maximum(distances[:, -1:], 1.0)
    weights = np.where(numbers >= 0, 1 - distances / farthest, 0)
    query, column = np.nonzero(weights > LEAST_WEIGHT)
    row = numbers[query, column]
    item = files.owners[row].astype(np.int64)
    weight = weights[query, column].astype(np.float32)
    pair = item * len(places) + query
    _, first, inverse, counts = np.unique(
        pair, return_index=True, return_inverse=True, return_counts=True
    )
    weight /= counts[inverse]  # a texture that repeats itself votes once
    items, backers = np.unique(item[first], return_counts=True)
    keep = np.isin(item, items[backers > 1])
    query, row, item, weight = query[keep], row[keep], item[keep], weight[keep]
    pose = _poses(places[query], files.places(row), files.sizes[item])
    return Matches(query, row, item, weight, pose)


def hypotheses(matches: Matches, most: int) -> list[Hypothesis]:
    """Where in the space of items and poses votes agree; most votes first.

    Every match votes for the two nearest bins in each direction (Lowe, 2004).
    """
    if not len(matches.query):
        return []
    chosen = _promising(matches, most)
    keys = _bins(matches.take(chosen))
    voters = np.repeat(chosen, keys.shape[1])
    order = np.argsort(keys, axis=None)
    sorted_keys = keys.ravel()[order]
    starts = np.flatnonzero(np.r_[True, sorted_keys[1:] != sorted_keys[:-1]])
    ends = np.r_[starts[1:], len(sorted_keys)]
    votes = np.add.reduceat(matches.weight[voters[order]], starts)
    peaks = np.argsort(-votes, kind="stable")[: most * PEAKS_PER_HYPOTHESIS]
    found: list[Hypothesis] = []
    for peak in peaks:
        seeds = voters[order[starts[peak] : ends[peak]]]
        if len(set(matches.query[seeds].tolist())) < LEAST_SEEDS:
            continue
        pose = _consensus(matches.pose[seeds], matches.weight[seeds])
        item = int(matches.item[seeds[0]])
        if not any(_is_same(item, pose, other) for other in found):
            found.append(Hypothesis(item, float(votes[peak]), pose, seeds))
        if len(found) == most:
            break
    return found


def _promising(matches: Matches, most: int) -> Int64[np.ndarray, " m"]:
    """Matches of the items that have most votes in all, whatever their poses."""
    items, inverse = np.unique(matches.item, return_inverse=True)
    votes = np.bincount(inverse, matches.weight)
    if len(items) <= most * ITEMS_PER_HYPOTHESIS:
        return np.arange(len(matches.item))
    best = np.argpartition(-votes, most * ITEMS_PER_HYPOTHESIS)[: most * ITEMS_PER_HYPOTHESIS]
    return np.flatnonzero(np.isin(inverse, best))


def _poses(
    seen: Float32[np.ndarray, "m 4"], kept: np.ndarray, sizes: np.ndarray
) -> Float64[np.ndarray, "m 4"]:
    """Where each pair says that the card lies, by the keypoints' own size and angle."""
    scale = seen[:, 2] / np.maximum(kept[:, 2], 0.1)
    turn = np.radians(seen[:, 3] - kept[:, 3])
    away = (sizes / 2 - kept[:, :2]) * scale[:, None]
    cosine, sine = np.cos(turn), np.sin(turn)
    x = seen[:, 0] + cosine * away[:, 0] - sine * away[:, 1]
    y = seen[:, 1] + sine * away[:, 0] + cosine * away[:, 1]
    diagonal = scale * np.hypot(sizes[:, 0].astype(np.float64), sizes[:, 1])
    return np.stack([x, y, diagonal, np.degrees(turn) % 360], axis=1)


def _bins(matches: Matches) -> Int64[np.ndarray, "m 16"]:
    """The bins that each match votes for, as one number each."""
    x, y, diagonal, angle = matches.pose.T
    octave = np.log2(np.maximum(diagonal, 1)) / SCALE_BIN
    turns = round(360 / ANGLE_BIN)
    keys = list[np.ndarray]()
    for scale in _nearest_two(octave):
        width = PLACE_BIN * 2.0 ** (scale * SCALE_BIN)
        for turn in _nearest_two(angle / ANGLE_BIN):
            base = (matches.item * 64 + np.clip(scale, 0, 63)) * turns + turn % turns
            for column in _nearest_two(x / width):
                for row in _nearest_two(y / width):
                    place = np.clip(column, -512, 511) * 1024 + np.clip(row, -512, 511)
                    keys.append(base * 1024 * 1024 + place + 512 * 1024 + 512)
    return np.stack(keys, axis=1)


def _nearest_two(values: Float64[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
    low = np.floor(values - 0.5).astype(np.int64)
    return low, low + 1


def _consensus(
    poses: Float64[np.ndarray, "s 4"], weights: Float32[np.ndarray, " s"]
) -> Float64[np.ndarray, " 4"]:
    """Their weighted mean; of angles, that of directions."""
    share = weights / weights.sum()
    turn = np.radians(poses[:, 3])
    angle = np.degrees(np.arctan2(share @ np.sin(turn), share @ np.cos(turn))) % 360
    diagonal = np.exp(share @ np.log(np.maximum(poses[:, 2], 1)))
    return np.array([share @ poses[:, 0], share @ poses[:, 1], diagonal, angle])


def _is_same(item: int, pose: Float64[np.ndarray, " 4"], other: Hypothesis) -> bool:
    if item != other.item:
        return False
    away = np.hypot(*(pose[:2] - other.pose[:2]))
    return bool(away < SAME_PLACE * max(pose[2], other.pose[2]))
