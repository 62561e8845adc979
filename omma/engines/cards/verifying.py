"""Looking closely at one hypothesis: all descriptors of the item, one homography, plausibility."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

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
    weights = np.clip(1 - distances / np.maximum(reach, 1), 0, 1)
    scale = np.sqrt(max(area(fit.outline), 1) / (width * height))
    return Evidence(
        inliers=len(fit.of_query),
        weight=float(np.maximum(weights - CHANCE, 0).sum()),
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
        [x + cosine * away[:, 0] - sine * away[:, 1], y + sine * away[:, 0] + cosine * away[:, 1]],
        axis=1,
    ).astype(np.float32)
    allowed = _within(seen[:, :2], expected, NEAR * diagonal)
    turned = (seen[:, None, 3] - kept[None, :, 3] - np.float32(angle) + 180) % 360 - 180
    allowed &= np.abs(turned) < TURN
    grown = np.log2(np.maximum(seen[:, 2], 0.1))[:, None] - np.log2(
        np.maximum(kept[:, 2] * scale, 0.1)
    )
    allowed &= np.abs(grown) < OCTAVES
    return _mutual(np.where(allowed, distances, np.inf), RATIO)


def _guided(
    distances: Float32[np.ndarray, "q n"],
    seen: Float32[np.ndarray, "q 4"],
    kept: np.ndarray,
    matrix: Matrix,
    tolerance: float,
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """Pairs, nearest of each other, where the homography brings them together."""
    expected = project(kept[:, :2], matrix).astype(np.float32)
    allowed = _within(seen[:, :2], expected, tolerance)
    angle, growth = _carried(kept, matrix, expected)
    turned = (seen[:, None, 3] - angle[None] + 180) % 360 - 180
    allowed &= np.abs(turned) < GUIDED_TURN
    allowed &= np.abs(np.log2(np.maximum(seen[:, 2], 0.1))[:, None] - growth[None]) < GUIDED_OCTAVES
    return _mutual(np.where(allowed, distances, np.inf), 1.0)


def _carried(
    kept: np.ndarray, matrix: Matrix, expected: Float32[np.ndarray, "n 2"]
) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Angles in degrees and log2 sizes that the index' keypoints have in the view."""
    turn = np.radians(kept[:, 3])
    along = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    forward = project(kept[:, :2] + along, matrix) - expected
    sideways = project(kept[:, :2] + across, matrix) - expected
    angle = np.degrees(np.arctan2(forward[:, 1], forward[:, 0]))
    grown = np.abs(forward[:, 0] * sideways[:, 1] - forward[:, 1] * sideways[:, 0])
    growth = np.log2(np.maximum(kept[:, 2], 0.1)) + np.log2(np.maximum(grown, 1e-6)) / 2
    return angle.astype(np.float32), growth.astype(np.float32)


def _within(a: np.ndarray, b: np.ndarray, reach: float) -> np.ndarray:
    x = a[:, None, 0] - b[None, :, 0]
    y = a[:, None, 1] - b[None, :, 1]
    return x * x + y * y < reach * reach


def _mutual(
    distances: Float32[np.ndarray, "q n"], ratio: float
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    best = distances.argmin(axis=1)
    queries = np.arange(len(distances))
    nearest = distances[queries, best]
    right = (distances.argmin(axis=0)[best] == queries) & (nearest < FAR * SQUARED_LENGTH)
    if ratio < 1:
        second = np.partition(distances, 1, axis=1)[:, 1]
        right &= nearest < ratio * second
    return queries[right], best[right]


def _length(outline: Float64[np.ndarray, "4 2"]) -> float:
    """Diagonal of a card of that area."""
    return float(np.sqrt(max(area(outline), 1.0) * 2.07))  # 63 by 88 mm


def _inside(outline: Float64[np.ndarray, "4 2"], places: Float32[np.ndarray, "q 4"]) -> int:
    return int(contains(outline, places[:, :2]).sum())


def _coverage(points: np.ndarray, width: float, height: float) -> float:
    """Part of the card that the points span."""
    hull = cv2.convexHull(points.astype(np.float32))
    return float(cv2.contourArea(hull) / (width * height))
