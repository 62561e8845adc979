"""Looking closely at one hypothesis: all descriptors of the item, one homography, plausibility."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from omma.engines.cards.files import IndexFiles
from omma.engines.cards.pairing import Pairs
from omma.engines.cards.scoring import Evidence, score
from omma.engines.cards.voting import Hypothesis
from omma.vision.appearance import Agreement, agreement, align, read_look
from omma.vision.homographies import Matrix, fit_robustly, project, refit, scaling
from omma.vision.quadrilaterals import area, corners, is_card_like, overlap

ERROR = 0.006  # of the card's diagonal: a homography's largest error, but at least:
LEAST_ERROR_PX = 2.0
GUIDED_ERROR = 2.0  # times that, when the homography says where to look
CHANCE = 0.1  # weight that a keypoint has by chance: what is above it counts
ART = (0.07, 0.11), (0.93, 0.55)  # corners of most cards' art, as parts of width and height
CORNERS = 4  # as many fit any homography
LAST_ERROR = 1.5  # times the tolerance: what counts in the end
LEAST_WEIGHT = 1.0  # of what is worth a look at the picture
UNDECIDED = (0.4, 0.92)  # of agreement: between them the homography is brought to the picture
NEARBY = 0.7  # intersection over union, of the outline before


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
    width, height = (float(side) for side in files.sizes[hypothesis.item])
    pairs = Pairs.of(
        (query.places[near], query.descriptors[near]),
        (files.places(rows), files.descriptors(rows)),
        (width, height),
    )
    fit = _fit(pairs, hypothesis)
    if fit is None:
        return None
    evidence = _evidence(pairs, fit, query.reach[near[fit.of_query]])
    fit, evidence = _with_look(fit, evidence, pairs, query, files.look(hypothesis.item))
    queries = near[fit.of_query]
    return Verified(hypothesis.item, score(evidence), evidence, fit.matrix, fit.outline, queries)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A homography, and the pairs that it explains."""

    matrix: Matrix
    outline: Float64[np.ndarray, "4 2"]
    of_query: Int64[np.ndarray, " m"]
    of_item: Int64[np.ndarray, " m"]


def _fit(pairs: Pairs, hypothesis: Hypothesis) -> _Fit | None:
    """Robustly from the pairs that the pose allows, then twice from those near that homography."""
    seen, kept = pairs.seen[:, :2], pairs.kept[:, :2]
    tolerance = max(ERROR * hypothesis.pose[2], LEAST_ERROR_PX)
    of_query, of_item = pairs.by_pose(hypothesis)
    fitted = fit_robustly(kept[of_item], seen[of_query], tolerance)
    matrix = None if fitted is None else fitted[0]
    for _ in range(2):
        outline = _outline(matrix, pairs.size)
        if matrix is None or outline is None:
            return None
        tolerance = max(ERROR * _length(outline), LEAST_ERROR_PX)
        of_query, of_item = pairs.by_homography(matrix, tolerance * GUIDED_ERROR)
        matrix = refit(kept[of_item], seen[of_query])
    outline = _outline(matrix, pairs.size)
    if matrix is None or outline is None:
        return None
    error = np.hypot(*(project(kept[of_item], matrix) - seen[of_query]).T)
    right = error <= tolerance * LAST_ERROR
    if right.sum() < CORNERS:
        return None
    return _Fit(matrix, outline, of_query[right], of_item[right])


def _outline(matrix: Matrix | None, size: tuple[float, float]) -> Float64[np.ndarray, "4 2"] | None:
    """The item's corners, where they make a card's shape."""
    if matrix is None:
        return None
    outline = project(corners(*size), matrix)
    return outline if is_card_like(outline, size[0] / size[1]) else None


def _evidence(pairs: Pairs, fit: _Fit, reach: Float32[np.ndarray, " m"]) -> Evidence:
    distances = pairs.distances[fit.of_query, fit.of_item]
    weights = np.maximum(np.clip(1 - distances / np.maximum(reach, 1), 0, 1) - CHANCE, 0)
    parts = pairs.kept[fit.of_item, :2] / np.array(pairs.size)
    in_art = ((parts > ART[0]) & (parts < ART[1])).all(axis=1)
    return Evidence(
        inliers=len(fit.of_query),
        weight=float(weights.sum()),
        art_weight=float(weights[in_art].sum()),
    )


def _with_look(
    fit: _Fit, evidence: Evidence, pairs: Pairs, query: Query, look: bytes
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


def _length(outline: Float64[np.ndarray, "4 2"]) -> float:
    """Diagonal of a card of that area."""
    return float(np.sqrt(max(area(outline), 1.0) * 2.07))  # 63 by 88 mm
