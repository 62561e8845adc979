"""One opened index: from photographs to the cards in them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from omma.domain.cards import CardMatch, RecogniseOptions, Recognition
from omma.domain.indexes import IndexStats
from omma.engines.cards.answering import answer
from omma.engines.cards.claiming import Claim, claim
from omma.engines.cards.codes import Codes
from omma.engines.cards.files import CODES, IndexFiles
from omma.engines.cards.looking import Glance, View, look, plan
from omma.engines.cards.options import CardEngineOptions
from omma.engines.cards.sights import PrintingJudge

Photo = UInt8[np.ndarray, "h w 3"]


@dataclass(slots=True, eq=False)
class _Sitting:
    """One photograph while it is worked on."""

    photo: Photo
    matches: tuple[CardMatch, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict[str, float])

    def spend(self, step: str, started: float) -> None:
        """Add to what the step took."""
        took = (time.perf_counter() - started) * 1000
        self.timings_ms[step] = self.timings_ms.get(step, 0.0) + took


class SiftCardEngine:
    """Sync, safe to call from many threads (port `CardEngine`)."""

    def __init__(
        self, folder: Path, version: str, options: CardEngineOptions, judge: PrintingJudge
    ) -> None:
        self._files = IndexFiles(folder)
        self._codes = Codes.read(folder / CODES, options)
        self._version = version
        self._options = options
        self._judge = judge
        cv2.setNumThreads(options.threads)

    @property
    def stats(self) -> IndexStats:
        """How large it is."""
        return self._files.stats

    def recognise(self, images: Sequence[Photo], options: RecogniseOptions, /) -> list[Recognition]:
        """What is seen in upright RGB images of any size, in the order given."""
        sittings = [_Sitting(image) for image in images]
        for glances in plan(options, self._options):
            self._attempt([one for one in sittings if not one.matches], glances, options)
        return [
            Recognition(
                matches=one.matches,
                snapshot=self._version,
                width_px=one.photo.shape[1],
                height_px=one.photo.shape[0],
                timings_ms=one.timings_ms,
            )
            for one in sittings
        ]

    def close(self) -> None:
        """Let go of its files. Nobody calls anything afterwards."""
        del self._files, self._codes

    def _attempt(
        self, sittings: list[_Sitting], glances: list[Glance], asked: RecogniseOptions
    ) -> None:
        """Look at each; one search for all of them; claim what is seen."""
        seen = [self._look(one, glances) for one in sittings]
        views = [view for views in seen for view in views]
        if not sum(len(view.keypoints) for view in views):
            return
        started = time.perf_counter()
        distances, numbers = self._codes.search(
            np.concatenate([view.keypoints.descriptors for view in views]),
            self._options.neighbours,
        )
        share = (time.perf_counter() - started) / len(sittings)
        end = 0
        for one, views in zip(sittings, seen, strict=True):
            one.spend("search", time.perf_counter() - share)
            started = time.perf_counter()
            claims = list[tuple[View, list[Claim]]]()
            for view in views:
                rows = slice(end, end + len(view.keypoints))
                end = rows.stop
                claims.append((view, self._claim(view, distances[rows], numbers[rows], asked)))
            view, best = max(claims, key=_worth)
            one.spend("match", started)
            started = time.perf_counter()
            one.matches = tuple(
                answer(each, view, one.photo, self._files, self._judge, asked) for each in best
            )
            one.spend("answer", started)

    def _look(self, sitting: _Sitting, glances: list[Glance]) -> list[View]:
        started = time.perf_counter()
        views = [look(sitting.photo, glance) for glance in glances]
        sitting.spend("features", started)
        return views

    def _claim(
        self, view: View, distances: np.ndarray, numbers: np.ndarray, asked: RecogniseOptions
    ) -> list[Claim]:
        if not len(view.keypoints) or not len(self._codes):
            return []
        least = self._options.min_score if asked.min_score is None else asked.min_score
        return claim(
            view,
            distances,
            numbers,
            self._files,
            self._options,
            most=asked.max_cards,
            min_score=least,
        )


def _worth(claims: tuple[View, list[Claim]]) -> float:
    return sum(one.best.score for one in claims[1])
