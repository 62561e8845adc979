"""Which cards lie in one view: votes, close looks, and again without what is explained."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int64

from omma.engines.cards.files import IndexFiles
from omma.engines.cards.looking import View
from omma.engines.cards.options import CardEngineOptions
from omma.engines.cards.verifying import Query, Verified, verify
from omma.engines.cards.voting import Hypothesis, Matches, hypotheses, match
from omma.vision.quadrilaterals import contains, overlap

SAME_PLACE = 0.6  # intersection over union of two outlines that are one place
APART = 0.05  # of two that have nothing to do with each other
ROUNDS = 16
HOPELESS = 0.5  # of the best's votes: what has fewer is not looked at once a card is sure
FAINT = 0.25  # of the best's votes: what has fewer was never the card
SURE = 0.99  # score
GROWTH = 4  # times the candidates of one card, at most, for many


@dataclass(slots=True, eq=False)
class Claim:
    """A card that lies in the view, and what else may lie at its place; best first."""

    best: Verified
    others: list[Verified] = field(default_factory=list[Verified])

    @property
    def items(self) -> set[int]:
        """All that may lie there."""
        return {self.best.item, *(other.item for other in self.others)}


def claim(  # noqa: PLR0913 - a view with its neighbours
    view: View,
    distances: Float32[np.ndarray, "q k"],
    numbers: Int64[np.ndarray, "q k"],
    files: IndexFiles,
    options: CardEngineOptions,
    *,
    most: int,
    min_score: float,
) -> list[Claim]:
    """At most ``most`` cards, in the order in which they were found."""
    places = view.keypoints.places.copy()
    descriptors = view.keypoints.descriptors.astype(np.float32)
    query = Query(places, descriptors, distances[:, -1], view.grey)
    matches = match(places, distances, numbers, files)
    claimed: list[Claim] = []
    for _ in range(ROUNDS):
        room = most - len(claimed)
        tried = hypotheses(matches, options.candidates * min(room, GROWTH))
        found = _look_closely(tried, query, files, one=most == 1)
        new = _settle(found, claimed, min_score, room)
        claimed += new
        if not new or len(claimed) >= most:
            break
        matches = _unexplained(matches, new, places)
    return claimed


def _look_closely(
    tried: list[Hypothesis], query: Query, files: IndexFiles, *, one: bool
) -> list[Verified]:
    """What stands a closer look, best first."""
    found: list[Verified] = []
    best = 0.0
    for hypothesis in tried:
        faint = HOPELESS if best >= SURE else FAINT
        if one and hypothesis.votes < faint * tried[0].votes:
            break
        verified = verify(hypothesis, query, files)
        if verified is not None:
            found.append(verified)
            best = max(best, verified.score)
    return sorted(found, key=lambda one: (-one.score, -one.evidence.weight, one.item))


def _settle(
    found: list[Verified], claimed: list[Claim], min_score: float, room: int
) -> list[Claim]:
    """Those of ``found`` that are sure and not in each other's way; the others wait a round."""
    new: list[Claim] = []
    for verified in found:
        if any(overlap(verified.outline, old.best.outline) > SAME_PLACE for old in claimed):
            continue
        shares = [overlap(verified.outline, other.best.outline) for other in new]
        if shares and max(shares) > SAME_PLACE:
            place = new[int(np.argmax(shares))]
            if verified.item not in place.items:
                place.others.append(verified)
        elif verified.score >= min_score and len(new) < room and max(shares, default=0) < APART:
            new.append(Claim(verified))
    return new


def _unexplained(matches: Matches, new: list[Claim], places: Float32[np.ndarray, "q 4"]) -> Matches:
    """What is left to vote; keypoints that are explained are moved out of sight."""
    kept = np.ones(len(matches.query), np.bool_)
    for one in new:
        inside = contains(one.best.outline, places[:, :2])
        kept &= ~(inside[matches.query] & np.isin(matches.item, list(one.items)))
        places[one.best.queries] = np.nan
    kept &= np.isfinite(places[matches.query, 0])
    return matches.take(kept)
