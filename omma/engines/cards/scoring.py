"""From what was found of a card to how sure it is."""

from dataclasses import dataclass

import numpy as np

from omma.vision.appearance import Agreement

LEAST = 1e-3  # of a weight: its logarithm is wanted
# By the look of the picture and the weight of keypoints, on the highest of three lines. The first
# trusts the look: severely distorted among 30,000, the right card agrees in 0.85 and more at a
# weight of 1.2, another card of its frame in 0.79 at most. The second trusts the keypoints: of
# another printing 0.67 of the art agree at a weight of 17, of another card never at such a weight.
# The third trusts those in the art, which a frame does not share: of a pale photo of another
# printing 0.67 agree at a weight of 7.7 there. Of the art of 1,700 other cards 0.43 agreed
# where it weighed 1 and more, and 4.0 was the most that it weighed.
LOOK_STEEPNESS, EVEN_LOOK, LOOK_WEIGHT = 30.0, 0.80, 2.0
WEIGHT_STEEPNESS, EVEN_ART, WEIGHT_ART = 3.0, 0.83, 25.0
EVEN_WEIGHT = 4.0
ART_STEEPNESS, EVEN_ART_WEIGHT, LOOK_OF_ART, LEAST_ART = 8.0, 6.0, 12.0, 0.5
# By the keypoints alone, for items that came without a look: strict, because cards of one frame
# have up to 50 keypoints in common, of weight 9; the right card has 12 and more unless it is tiny.
STRICT_STEEPNESS, STRICT_WEIGHT = 0.8, 12.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for an item at a place."""

    inliers: int  # keypoints that one homography explains
    weight: float  # the sum of how much nearer each is than its neighbours, above chance
    art_weight: float  # of those where most cards have their art
    agreement: Agreement | None = None  # of the whole picture; None where it is not known


def score(evidence: Evidence) -> float:
    """Probability that the item lies there, 0 to 1."""
    if evidence.agreement is None:
        logit = STRICT_STEEPNESS * (evidence.weight - STRICT_WEIGHT)
    else:
        weight = np.log(max(evidence.weight, LEAST) / EVEN_WEIGHT)
        by_look = LOOK_STEEPNESS * (evidence.agreement.mean - EVEN_LOOK) + LOOK_WEIGHT * weight
        by_weight = WEIGHT_ART * (evidence.agreement.art - EVEN_ART) + WEIGHT_STEEPNESS * weight
        art_weight = np.log(max(evidence.art_weight, LEAST) / EVEN_ART_WEIGHT)
        by_art = LOOK_OF_ART * (evidence.agreement.art - LEAST_ART) + ART_STEEPNESS * art_weight
        logit = max(by_look, by_weight, by_art)
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))
