"""Telling printings of one art apart by the regions around the art."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from omma.engines.cards.sights import Decision, Sight
from omma.vision.printings import View, cut_regions, tell_apart

CERTAIN = 0.95  # probability from which a printing is named alone: of 240 photos of drawn reprints
# 250 to 800 px high none named so was another printing
MOST = 16  # printings that are compared; 5 ms each


class RegionJudge:
    """`PrintingJudge` over set symbol, collector line and frame."""

    form = "regions-1"

    def cut(self, picture: UInt8[np.ndarray, "h w 3"], /) -> bytes:
        """See `PrintingJudge`."""
        return cut_regions(picture)

    def decide(
        self, photo: UInt8[np.ndarray, "h w 3"], sights: Sequence[Sight], /
    ) -> Decision | None:
        """See `PrintingJudge`; those beyond `MOST` are left as improbable as the least."""
        compared = sights[:MOST]
        if not all(sight.regions for sight in compared):
            return None
        best = compared[0]
        grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        view = View(grey, best.homography, _height_px(best))
        odds = tell_apart(view, [sight.regions for sight in compared], best.aspect)
        probabilities = np.concatenate([odds, np.full(len(sights) - len(compared), odds.min())])
        probabilities /= probabilities.sum()
        is_certain = len(compared) == len(sights) and float(probabilities.max()) > CERTAIN
        return Decision(probabilities.astype(np.float32), is_certain)


def _height_px(sight: Sight) -> float:
    """Of the card in the photograph: the mean of its left and its right side."""
    corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]) @ sight.homography.T
    places = corners[:, :2] / corners[:, 2:]
    return float(np.linalg.norm(places[[3, 2]] - places[[0, 1]], axis=1).mean())
