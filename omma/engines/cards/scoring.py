"""From what was found of a card to how sure it is."""

from dataclasses import dataclass

import numpy as np

LEAST = 1e-3  # of a weight: its logarithm is wanted
# By the keypoints and by the look of the whole picture. Of 286 close looks at photographs of 45
# real and 700 drawn cards, and of as many cards that were not indexed, those at the right card
# have a logit of 1.5 or more but for one in ninety, those at another card of -1.8 or less.
LOOK_STEEPNESS, EVEN_LOOK = 25.0, 0.83
WEIGHT_STEEPNESS, EVEN_WEIGHT = 3.0, 4.0
# By the keypoints alone, for items that came without a look: strict, because cards of one frame
# have up to 50 keypoints in common, of weight 9; the right card has 12 and more unless it is tiny.
STRICT_STEEPNESS, STRICT_WEIGHT = 0.8, 12.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for an item at a place."""

    inliers: int  # keypoints that one homography explains
    weight: float  # the sum of how much nearer each is than its neighbours, above chance
    ratio: float  # inliers by pairs that were tried
    coverage: float  # part of the card that they span
    density: float  # inliers by keypoints within the outline
    scale: float  # size of the card in the view by that of its indexed picture
    agreement: float | None = None  # of the whole picture's blocks; None where it is not known


def score(evidence: Evidence) -> float:
    """Probability that the item lies there, 0 to 1."""
    if evidence.agreement is None:
        logit = STRICT_STEEPNESS * (evidence.weight - STRICT_WEIGHT)
    else:
        logit = LOOK_STEEPNESS * (evidence.agreement - EVEN_LOOK)
        logit += WEIGHT_STEEPNESS * np.log(max(evidence.weight, LEAST) / EVEN_WEIGHT)
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))
