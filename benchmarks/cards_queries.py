"""Photographs with a known answer, and photographs that show no indexed card."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from skimage import data as pictures

from benchmarks.cards_corpus import REPRINTED, Corpus
from benchmarks.cards_features import BACK, decoded, name_of
from omma.vision.distortions import Distorted, Severity, distort

PRINTING_PX = 600.0  # card height from which printings are to be told apart
HELD_OUT = 6  # of so many real cards one is not indexed
LONGEST_PX = 1600  # of photographs as phones upload them
STRANGERS = (  # none of them is in the art of drawn cards
    "gravel",
    "text",
    "page",
    "coins",
    "moon",
    "clock",
    "immunohistochemistry",
    "cell",
    "camera",
    "checkerboard",
    "horse",
)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One photograph."""

    kind: str
    photo: np.ndarray
    answer: str | None  # id of the card that it shows; None for none of the index
    distorted: Distorted | None = None

    @property
    def region(self) -> np.ndarray:
        """The part that a detector would cut out: all that the original was ever given."""
        if self.distorted is None:
            return self.photo
        low = np.maximum(self.distorted.outline.min(0), 0).astype(int)
        high = np.ceil(self.distorted.outline.max(0)).astype(int)
        return np.ascontiguousarray(self.photo[low[1] : high[1], low[0] : high[0]])


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """All of them, the same every time; ``many`` of each kind of drawn card."""

    corpus: Corpus
    cards: int  # drawn ones that are indexed
    data: Path  # of OMMA_EVAL_DATA
    real: Mapping[str, bytes]
    many: int

    @property
    def held_out(self) -> list[str]:
        """Real cards that are not indexed."""
        return sorted(self.real)[::HELD_OUT]

    def __iter__(self) -> Iterator[Query]:
        """One of each kind, and then the next of each: a part of a run is a smaller run."""
        kinds = [self._nothing(), self._reprints()]
        for severity in Severity:
            kinds += [self._shown(severity), self._drawn(f"drawn, {severity}", severity)]
        while kinds:
            found = [(kind, next(kind, None)) for kind in kinds]
            yield from (query for _, query in found if query)
            kinds = [kind for kind, query in found if query]

    def _shown(self, severity: Severity) -> Iterator[Query]:
        names = [name for name in sorted(self.real) if name not in self.held_out]
        for round_ in range(max(1, self.many // 100)):
            yield from self._real(f"real, {severity}", names, severity, round_)

    def _real(
        self, kind: str, names: list[str], severity: Severity, round_: int, *, known: bool = True
    ) -> Iterator[Query]:
        for number, name in enumerate(names):
            rng = np.random.default_rng((number, round_, 1))
            found = distort(decoded(self.real[name]), severity, rng)
            yield Query(kind, found.image, name if known else None, found)

    def _drawn(self, kind: str, severity: Severity) -> Iterator[Query]:
        for number in self._sample(self.many, 2):
            rng = np.random.default_rng((number, 2))
            found = distort(self.corpus.picture(number), severity, rng)
            yield Query(kind, found.image, name_of(number), found)

    def _reprints(self) -> Iterator[Query]:
        """Cards of which the index holds two printings."""
        for number in self._sample(self.many, 3):
            group = number - number % REPRINTED
            chosen = group + (REPRINTED - 1 if number % 2 else 0)
            rng = np.random.default_rng((number, 3))
            picture = self.corpus.picture(chosen)
            found = distort(picture, Severity.MODERATE, rng, height_px=PRINTING_PX)
            kind = f"reprints, {PRINTING_PX:g} px"
            yield Query(kind, found.image, name_of(chosen), found)

    def _nothing(self) -> Iterator[Query]:
        rounds = max(1, self.many // 25)
        for round_ in range(rounds):
            yield from self._real(
                "none: real cards", self.held_out, Severity.MODERATE, 50 + round_, known=False
            )
        for number in range(self.cards, self.cards + self.many):
            if self.corpus.original(number) >= self.cards and self.corpus.path(number).exists():
                rng = np.random.default_rng((number, 4))
                found = distort(self.corpus.picture(number), Severity.MODERATE, rng)
                yield Query("none: drawn cards", found.image, None, found)
        yield from self._backs()
        for photo in crops(strangers(), 2 * self.many, 6):
            yield Query("none: photographs", photo, None)
        for photo in crops(table_photos(self.data), self.many, 7):
            yield Query("none: tables of others", photo, None)

    def _backs(self) -> Iterator[Query]:
        file = self.data / "cards/scans" / f"{BACK}.webp"
        back = decoded(file.read_bytes()) if file.exists() else None
        if back is None:  # without OMMA_EVAL_DATA
            return
        for number in range(self.many // 10):
            found = distort(back, Severity.MODERATE, np.random.default_rng((number, 5)))
            yield Query("none: card's back", found.image, None, found)

    def _sample(self, count: int, seed: int) -> list[int]:
        chosen = np.random.default_rng(seed).choice(self.cards, min(count, self.cards), False)  # noqa: FBT003
        return sorted(int(number) for number in chosen)


def strangers() -> list[np.ndarray]:
    """Photographs, pages and patterns without any card."""
    loaded = [_load(getattr(pictures, name)) for name in STRANGERS]
    return [photo for photo in loaded if photo is not None]


def table_photos(data: Path) -> list[np.ndarray]:
    """Photographs of cards, none of which is among the real ones."""
    return [decoded(file.read_bytes()) for file in sorted((data / "cards/photos").glob("*.*"))]


def crops(photos: list[np.ndarray], count: int, seed: int) -> Iterator[np.ndarray]:
    """Each photo whole, then random parts of them, turned by quarters."""
    rng = np.random.default_rng(seed)
    yield from (_bounded(photo) for photo in photos[:count])
    for number in range(count - len(photos) if photos else 0):
        photo = photos[number % len(photos)]
        size = np.minimum(rng.uniform(200, 2400), photo.shape[:2]).astype(int)
        top, left = (int(rng.integers(0, photo.shape[i] - size[i] + 1)) for i in range(2))
        part = photo[top : top + size[0], left : left + size[1]]
        yield _bounded(np.ascontiguousarray(np.rot90(part, int(rng.integers(4)))))


def _bounded(photo: np.ndarray) -> np.ndarray:
    scale = LONGEST_PX / max(photo.shape[:2])
    if scale >= 1:
        return photo
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _load(load: Callable[[], np.ndarray]) -> np.ndarray | None:
    try:
        photo = load()
    except OSError:  # a picture that this installation would have to download
        return None
    if photo.dtype == bool:
        photo = photo.astype(np.uint8) * 255
    return np.dstack([photo] * 3) if photo.ndim == 2 else photo[..., :3]  # noqa: PLR2004
