"""The engine of cards as services know it: makes features, indexes, and engines of indexes."""

from pathlib import Path

from omma.domain.cards import Features
from omma.domain.indexes import IndexStats
from omma.engines.cards.building import build
from omma.engines.cards.engine import SiftCardEngine
from omma.engines.cards.files import FORM
from omma.engines.cards.options import CardEngineOptions
from omma.engines.cards.pictures import extract, name_features
from omma.engines.cards.printings import RegionJudge
from omma.engines.cards.sights import PrintingJudge
from omma.ports.cards import FeatureReader


class SiftCardEngines:
    """Local features and an inverted file of their codes (port `CardEngines`)."""

    def __init__(
        self,
        options: CardEngineOptions = CardEngineOptions(),  # noqa: B008 - frozen
        judge: PrintingJudge | None = None,
    ) -> None:
        self._options = options
        self._judge: PrintingJudge = judge or RegionJudge()

    @property
    def features_key(self) -> str:
        """Names how features are made: features of another key are made anew."""
        return name_features(self._options, self._judge)

    @property
    def index_form(self) -> str:
        """Names how indexes are written: `open` takes no index of another form."""
        return f"{FORM}"

    def extract(self, image: bytes) -> Features:
        """What is seen of one encoded card picture; raises `InvalidInput` and its kin."""
        return extract(image, self._options, self._judge)

    def build(self, items: FeatureReader, folder: Path, *, version: str) -> IndexStats:
        """Write a whole index of ``items`` into the empty ``folder``."""
        return build(items, folder, version, self._options)

    def open(self, folder: Path, *, version: str) -> SiftCardEngine:
        """An index that `build` wrote; `IndexCorrupt` for what is none."""
        return SiftCardEngine(folder, version, self._options, self._judge)
