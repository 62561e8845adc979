"""Looking closely at one hypothesis: all descriptors of the item, one homography, plausibility."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from omma.engines.cards.files import IndexFiles
from omma.engines.cards.scoring import Evidence, score
from omma.engines.cards.voting import Hypothesis
from omma.vision.appearance import Agreement, agreement, align, read_look
from omma.vision.homographies import Matrix, fit_robustly, project, refit, scaling
from omma.vision.quadrilaterals import area, contains, corners, is_card_like, overlap

NEAR = 0.35  # of the card's diagonal: how far from where the pose says a keypoint may be at first
TURN = 50.0  # degrees that its angle may differ by
OCTAVES = 1.3  # that its size may
RATIO = 0.85  # of squared distances, to the next of the same item
FAR = 0.75  # of the squared length: descriptors farther apart than that are of different things
ERROR = 0.006  # of the card's diagonal: a homography's largest error, but at least:
LEAST_ERROR_PX = 2.0
GUIDED_ERROR = 2.0  # times that, when the homography says where to look
GUIDED_TURN = 35.0  # degrees that a keypoint may differ by from what the homography makes of it
GUIDED_OCTAVES = 0.8  # that its size may
CHANCE = 0.1  # weight that a keypoint has by chance: what is above it counts
ART = (0.07, 0.11), (0.93, 0.55)  # corners of most cards' art, as parts of width and height
CORNERS = 4  # as many fit any homography
LAST_ERROR = 1.5  # times the tolerance: what counts in the end
LEAST_WEIGHT = 1.0  # of what is worth a look at the picture
UNDECIDED = (0.4, 0.92)  # of agreement: between them the homography is brought to the picture
NEARBY = 0.7  # intersection over union, of the outline before
SQUARED_LENGTH = 512.0**2  # of a RootSIFT descriptor in bytes


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What is seen of a photograph, or of a view of it."""

    places: Float32[np.ndarray, "q 4"]  # px of the view
    descriptors: Float32[np.ndarray, "q 128"]
    reach: Float32[np.ndarray, " q"]  # squared distance of the farthest neighbour in the index
    grey: UInt8[np.ndarray, "h w"]  # the view itself


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """An item that lies there."""

    item: int
    score: float
    evidence: Evidence
    homography: Matrix  # from px of the item's picture to px of the view
    outline: Float64[np.ndarray, "4 2"]  # px of the view
    queries: Int64[np.ndarray, " n"]  # keypoints that the homography explains


def verify(hypothesis: Hypothesis, query: Query, files: IndexFiles) -> Verified | None:
    """The item's outline and how sure it is; None where no card of that art can lie there."""
    rows = files.rows(hypothesis.item)
    near = _nearby(hypothesis, query)
    if min(len(near), rows.stop - rows.start) < CORNERS:
        return None
    kept = files.places(rows)
    pairs = _Pairs(
        distances=_distances(query.descriptors[near], files.descriptors(rows)),
        seen=query.places[near],
        kept=kept,
        size=(float(files.sizes[hypothesis.item][0]), float(files.sizes[hypothesis.item][1])),
    )
    fit = _fit(pairs, hypothesis)
    if fit is None:
        return None
    evidence = _evidence(pairs, fit, query.reach[near[fit.of_query]])
    fit, evidence = _with_look(fit, evidence, pairs, query, files.look(hypothesis.item))
    queries = near[fit.of_query]
    return Verified(hypothesis.item, score(evidence), evidence, fit.matrix, fit.outline, queries)


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Keypoints of the photo about the place, and those of the item."""

    distances: Float32[np.ndarray, "q n"]  # squared
    seen: Float32[np.ndarray, "q 4"]
    kept: np.ndarray  # (n, 4)
    size: tuple[float, float]  # width and height of the item's picture


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A homography, and the pairs that it explains of those that were tried."""

    matrix: Matrix
    outline: Float64[np.ndarray, "4 2"]
    of_query: Int64[np.ndarray, " m"]
    of_item: Int64[np.ndarray, " m"]
    tried: int


def _fit(pairs: _Pairs, hypothesis: Hypothesis) -> _Fit | None:
    """Robustly from the pairs that the pose allows, then twice from those near that homography."""
    seen, kept = pairs.seen[:, :2], pairs.kept[:, :2]
    tolerance = max(ERROR * hypothesis.pose[2], LEAST_ERROR_PX)
    of_query, of_item = _agreeing(pairs.distances, pairs.seen, pairs.kept, hypothesis, pairs.size)
    tried = len(of_query)
    fitted = fit_robustly(kept[of_item], seen[of_query], tolerance)
    matrix = None if fitted is None else fitted[0]
    for _ in range(2):
        outline = _outline(matrix, pairs.size)
        if matrix is None or outline is None:
            return None
        tolerance = max(ERROR * _length(outline), LEAST_ERROR_PX)
        of_query, of_item = _guided(
            pairs.distances, pairs.seen, pairs.kept, matrix, tolerance * GUIDED_ERROR
        )
        matrix = refit(kept[of_item], seen[of_query])
    outline = _outline(matrix, pairs.size)
    if matrix is None or outline is None:
        return None
    error = np.hypot(*(project(kept[of_item], matrix) - seen[of_query]).T)
    right = error <= tolerance * LAST_ERROR
    if right.sum() < CORNERS:
        return None
    return _Fit(matrix, outline, of_query[right], of_item[right], tried)


def _outline(matrix: Matrix | None, size: tuple[float, float]) -> Float64[np.ndarray, "4 2"] | None:
    """The item's corners, where they make a card's shape."""
    if matrix is None:
        return None
    outline = project(corners(*size), matrix)
    return outline if is_card_like(outline, size[0] / size[1]) else None


def _evidence(pairs: _Pairs, fit: _Fit, reach: Float32[np.ndarray, " m"]) -> Evidence:
    width, height = pairs.size
    distances = pairs.distances[fit.of_query, fit.of_item]
    weights = np.maximum(np.clip(1 - distances / np.maximum(reach, 1), 0, 1) - CHANCE, 0)
    parts = pairs.kept[fit.of_item, :2] / np.array(pairs.size)
    in_art = ((parts > ART[0]) & (parts < ART[1])).all(axis=1)
    scale = np.sqrt(max(area(fit.outline), 1) / (width * height))
    return Evidence(
        inliers=len(fit.of_query),
        weight=float(weights.sum()),
        art_weight=float(weights[in_art].sum()),
        ratio=len(fit.of_query) / max(fit.tried, 1),
        coverage=_coverage(pairs.kept[fit.of_item, :2], width, height),
        density=len(fit.of_query) / max(_inside(fit.outline, pairs.seen), 1),
        scale=float(scale * height / np.hypot(width, height)),
    )


def _with_look(
    fit: _Fit, evidence: Evidence, pairs: _Pairs, query: Query, look: bytes
) -> tuple[_Fit, Evidence]:
    """The same with how far the whole picture agrees; the homography follows the picture."""
    if not look:
        return fit, evidence
    if evidence.weight < LEAST_WEIGHT:
        return fit, replace(evidence, agreement=Agreement(0.0, 0.0))
    kept, unit = read_look(look), scaling(*pairs.size)
    agrees = agreement(query.grey, fit.matrix @ unit, kept)
    if UNDECIDED[0] <= agrees.mean < UNDECIDED[1]:
        moved = align(query.grey, fit.matrix @ unit, kept)
        matrix = None if moved is None else moved @ np.linalg.inv(unit)
        outline = _outline(matrix, pairs.size)
        if matrix is not None and outline is not None and overlap(outline, fit.outline) > NEARBY:
            better = agreement(query.grey, matrix @ unit, kept)
            if better.mean > agrees.mean:
                fit, agrees = replace(fit, matrix=matrix, outline=outline), better
    return fit, replace(evidence, agreement=agrees)


def _nearby(hypothesis: Hypothesis, query: Query) -> Int64[np.ndarray, " n"]:
    """Query keypoints that can be on the card."""
    away = query.places[:, :2] - hypothesis.pose[:2]
    return np.flatnonzero(np.hypot(away[:, 0], away[:, 1]) < 0.9 * hypothesis.pose[2])


def _distances(seen: Float32[np.ndarray, "q 128"], kept: np.ndarray) -> Float32[np.ndarray, "q n"]:
    """Squared distances."""
    other = kept.astype(np.float32)
    squares = (seen**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None]
    return np.maximum(squares - 2 * seen @ other.T, 0)


def _agreeing(
    distances: Float32[np.ndarray, "q n"],
    seen: Float32[np.ndarray, "q 4"],
    kept: np.ndarray,
    hypothesis: Hypothesis,
    size: tuple[float, float],
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """Pairs, nearest of each other, where the pose lets them be."""
    x, y, diagonal, angle = hypothesis.pose
    scale = diagonal / np.hypot(*size)
    turn = np.radians(angle)
    cosine, sine = np.cos(turn) * scale, np.sin(turn) * scale
    away = kept[:, :2] - np.array(size) / 2
    expected = np.stack(
        [
            x + cosine * away[:, 0] - sine * away[:, 1],
            y + sine * away[:, 0] + cosine * away[:, 1],
            np.log2(np.maximum(kept[:, 2] * scale, 0.1)),
            kept[:, 3] + angle,
        ],
        axis=1,
    )
    return _mutual(distances, seen, expected, (NEAR * diagonal, OCTAVES, TURN), RATIO)


def _guided(
    distances: Float32[np.ndarray, "q n"],
    seen: Float32[np.ndarray, "q 4"],
    kept: np.ndarray,
    matrix: Matrix,
    tolerance: float,
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """Pairs, nearest of each other, where the homography brings them together."""
    expected = _carried(kept, matrix)
    return _mutual(distances, seen, expected, (tolerance, GUIDED_OCTAVES, GUIDED_TURN), 1.0)


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
    growth = np.log2(np.maximum(kept[:, 2], 0.1)) + np.log2(np.maximum(grown, 1e-6)) / 2
    return np.column_stack([places, growth, angle])


def _mutual(
    distances: Float32[np.ndarray, "q n"],
    seen: Float32[np.ndarray, "q 4"],
    expected: Float64[np.ndarray, "n 4"],
    within: tuple[float, float, float],
    ratio: float,
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """Pairs, nearest of each other among those ``within`` px, octaves and degrees of ``expected``.

    The nearest must be less than ``ratio`` as far as the next of the same query.
    """
    left = np.where(_allowed(seen, expected, within), distances, np.float32(np.inf))
    best = left.argmin(axis=1)
    nearest = left[np.arange(len(left)), best]
    right = (left.argmin(axis=0)[best] == np.arange(len(left))) & (nearest < FAR * SQUARED_LENGTH)
    queries = np.flatnonzero(right)
    if ratio < 1 and len(queries):
        second = np.partition(left[queries], 1, axis=1)[:, 1]
        queries = queries[nearest[queries] < ratio * second]
    return queries, best[queries]


def _allowed(
    seen: Float32[np.ndarray, "q 4"],
    expected: Float64[np.ndarray, "n 4"],
    within: tuple[float, float, float],
) -> Bool[np.ndarray, "q n"]:
    """Which pairs; in products of thin matrices, ten times as fast as pair by pair."""
    reach, octaves, degrees = within
    here, there = seen[:, :2] - expected[0, :2], expected[:, :2] - expected[0, :2]
    ones = np.ones(len(here)), np.ones(len(there))
    squares = (here**2).sum(axis=1), (there**2).sum(axis=1)
    apart = _product((squares[0], ones[0], *here.T), (ones[1], squares[1], *(-2 * there.T)))
    turns = np.radians(seen[:, 3]), np.radians(expected[:, 3])
    aligned = _product(*((np.cos(turn), np.sin(turn)) for turn in turns))
    sizes = np.log2(np.maximum(seen[:, 2], 0.1))
    grown = _product((sizes, ones[0]), (ones[1], -expected[:, 2]))
    allowed = apart < reach**2
    allowed &= aligned > np.cos(np.radians(degrees))
    allowed &= np.abs(grown, out=grown) < octaves
    return allowed


def _product(left: Iterable[np.ndarray], right: Iterable[np.ndarray]) -> Float32[np.ndarray, "q n"]:
    """Of two matrices that are given by columns and by rows."""
    return np.stack([*left], axis=1).astype(np.float32) @ np.stack([*right]).astype(np.float32)


def _length(outline: Float64[np.ndarray, "4 2"]) -> float:
    """Diagonal of a card of that area."""
    return float(np.sqrt(max(area(outline), 1.0) * 2.07))  # 63 by 88 mm


def _inside(outline: Float64[np.ndarray, "4 2"], places: Float32[np.ndarray, "q 4"]) -> int:
    return int(contains(outline, places[:, :2]).sum())


def _coverage(points: np.ndarray, width: float, height: float) -> float:
    """Part of the card that the points span."""
    hull = cv2.convexHull(points.astype(np.float32))
    return float(cv2.contourArea(hull) / (width * height))
