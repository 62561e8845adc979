"""From what was found of a card to how sure it is."""

from dataclasses import dataclass

import numpy as np

# Set by hand between what was measured among 3,000 cards: photographs without an indexed card
# reach a weight of 1.9 (0.05 for each inlier; 3.5 among ten cards of one frame), severely
# distorted indexed cards 12 and more (0.20 for each inlier).
STEEPNESS, EVEN = 1.6, 4.0
SHARE_STEEPNESS, EVEN_SHARE, LARGEST_SHARE = 10.0, 0.12, 0.3


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for an item at a place."""

    inliers: int  # keypoints that one homography explains
    weight: float  # the sum of how much nearer each is than its neighbours, above chance
    ratio: float  # inliers by pairs that were tried
    coverage: float  # part of the card that they span
    density: float  # inliers by keypoints within the outline
    scale: float  # size of the card in the view by that of its indexed picture


def score(evidence: Evidence) -> float:
    """Probability that the item lies there, 0 to 1."""
    share = min(evidence.weight / max(evidence.inliers, 1), LARGEST_SHARE)
    logit = STEEPNESS * (evidence.weight - EVEN) + SHARE_STEEPNESS * (share - EVEN_SHARE)
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))
