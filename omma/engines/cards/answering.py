"""From a claimed place to the answer: printings of one art, alternatives, the outline."""

import numpy as np
from jaxtyping import UInt8

from omma.domain.cards import Alternative, CardMatch, RecogniseOptions
from omma.engines.cards.claiming import Claim
from omma.engines.cards.files import IndexFiles
from omma.engines.cards.looking import View
from omma.engines.cards.sights import PrintingJudge, Sight
from omma.engines.cards.verifying import Verified
from omma.vision.homographies import project, scaling
from omma.vision.quadrilaterals import overlap

SAME_OUTLINE = 0.85  # intersection over union; nobody having said, items so near are of one art
SAME_INLIERS = 0.7  # of the best's, and that many they must have


def answer(  # noqa: PLR0913, PLR0917 - all of one place
    claim: Claim,
    view: View,
    photo: UInt8[np.ndarray, "h w 3"],
    files: IndexFiles,
    judge: PrintingJudge,
    asked: RecogniseOptions,
) -> CardMatch:
    """What is told of one place."""
    printings = [claim.best, *(o for o in claim.others if _is_printing(o, claim.best, files))]
    strangers = [other for other in claim.others if other not in printings]
    printings, is_certain = _decide(printings, view, photo, files, judge)
    best = printings[0]
    runner_up = max((other.score for other in strangers), default=0.0)
    others = [(one, True) for one in printings[1:]] + [(one, False) for one in strangers]
    return CardMatch(
        item=files.items[best.item],
        score=claim.best.score,
        margin=max(claim.best.score - runner_up, 0.0),
        inliers=best.evidence.inliers,
        outline=project(best.outline, view.to_photo).astype(np.float32),
        is_printing_certain=is_certain,
        printings=tuple(files.items[one.item] for one in printings),
        alternatives=tuple(
            Alternative(files.items[one.item], one.score, is_printing)
            for one, is_printing in others[: asked.max_alternatives]
        ),
    )


def _is_printing(other: Verified, best: Verified, files: IndexFiles) -> bool:
    """Whether both are of one art, by what their source says, else by what is seen."""
    arts = files.illustrations[other.item], files.illustrations[best.item]
    if all(arts):
        return arts[0] == arts[1]
    is_near = overlap(other.outline, best.outline) >= SAME_OUTLINE
    return is_near and other.evidence.inliers >= SAME_INLIERS * best.evidence.inliers


def _decide(
    printings: list[Verified],
    view: View,
    photo: UInt8[np.ndarray, "h w 3"],
    files: IndexFiles,
    judge: PrintingJudge,
) -> tuple[list[Verified], bool]:
    """The printings, most probable first, and whether the first is certain."""
    if len(printings) == 1:
        return printings, True
    decision = judge.decide(photo, [_sight(one, view, files) for one in printings])
    if decision is None:
        return printings, False
    order = np.argsort(-decision.probabilities, kind="stable")
    return [printings[i] for i in order], decision.is_certain


def _sight(one: Verified, view: View, files: IndexFiles) -> Sight:
    width, height = (float(side) for side in files.sizes[one.item])
    return Sight(
        regions=files.regions(one.item),
        homography=view.to_photo @ one.homography @ scaling(width, height),
        aspect=width / height,
    )
