"""What the card services need: a matcher, the records of cards, their sources."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from omma.domain.cards import (
    Card,
    CardFace,
    CardId,
    Correction,
    Features,
    ItemFeatures,
    ItemId,
    RecogniseOptions,
    Recognition,
)
from omma.domain.errors import OmmaError
from omma.domain.faces import Lane
from omma.domain.indexes import IndexStats, SourcePlan


class CardMatcher(Protocol):
    """Recognises cards in encoded images; answers or fails each image by itself."""

    async def recognise(
        self,
        images: Sequence[bytes],
        options: RecogniseOptions,
        *,
        lane: Lane = Lane.INTERACTIVE,
    ) -> list[Recognition | OmmaError]:
        """One recognition, or the reason why not, per image in the order given.

        `IndexMissing` for all where no index was published yet.
        """
        ...


class CardEngine(Protocol):
    """One opened snapshot in this process: sync, safe to call from many threads."""

    @property
    def stats(self) -> IndexStats:
        """How large it is."""
        ...

    def recognise(
        self, images: Sequence[UInt8[np.ndarray, "h w 3"]], options: RecogniseOptions, /
    ) -> list[Recognition]:
        """What is seen in upright RGB images of any size, in the order given."""
        ...

    def close(self) -> None:
        """Let go of its files. Nobody calls anything afterwards."""
        ...


class CardEngines(Protocol):
    """Makes features, indexes and engines; sync, heavy imports inside."""

    @property
    def features_key(self) -> str:
        """Names how features are made: features of another key are made anew."""
        ...

    @property
    def index_form(self) -> str:
        """Names how indexes are written: `open` takes no index of another form."""
        ...

    def extract(self, image: bytes) -> Features:
        """What is seen of one encoded card picture; raises `InvalidInput` and its kin."""
        ...

    def build(self, items: "FeatureReader", folder: Path, *, version: str) -> IndexStats:
        """Write a whole index of ``items`` into the empty ``folder``."""
        ...

    def open(self, folder: Path, *, version: str) -> CardEngine:
        """An index that `build` wrote; `IndexCorrupt` for what is none."""
        ...


class FeatureReader(Protocol):
    """Features of very many items, readable from the start as often as wanted."""

    def __len__(self) -> int:
        """How many items."""
        ...

    def read(self) -> Iterable[ItemFeatures]:
        """Each item once, in an order that is the same every time; little memory at a time."""
        ...


@dataclass(frozen=True, slots=True)
class Unextracted:
    """A face whose picture is new or another than the one that was looked at."""

    card_id: CardId
    face: CardFace
    tries: int  # failed ones of this very picture


@dataclass(frozen=True, slots=True)
class Extracted:
    """What came of looking at one face: its features lie in ``shard``, or why there are none."""

    item: ItemId
    image_key: str
    shard: str = ""  # path in the blob store
    keypoints: int = 0
    error: str = ""  # code and message; empty for success
    is_final: bool = False  # another try of the same picture would not help
    tries: int = 0  # failed ones before this, as `Unextracted` had it
    is_counted: bool = True  # False where the picture's server failed: no try of the picture
    is_doubtful: bool = False  # the source gave no other picture then: it may have been away


class CardRecords(Protocol):
    """The records of cards. Every method may raise `StoreUnavailable`."""

    async def upsert(self, cards: Sequence[Card], *, seen_in: str) -> int:
        """Record them as seen in this pass; answers how many are new or changed.

        Passes are named in the order of their beginnings, by texts that sort.
        """
        ...

    async def remove_unseen(self, seen_in: str) -> int:
        """Mark as removed what neither this complete pass nor a later one has seen; how many."""
        ...

    async def get(self, card_ids: Collection[CardId]) -> dict[CardId, Card]:
        """Those of them that there are and that were not removed."""
        ...

    async def search(self, text: str, *, limit: int) -> list[Card]:
        """Cards by name, whatever the case and accents: exact, then by start, then by part."""
        ...

    async def count(self) -> tuple[int, int]:
        """Cards and faces that were not removed."""
        ...


class FeatureLedger(Protocol):
    """Which features there are and where. Every method may raise `StoreUnavailable`."""

    async def missing(self, features_key: str, *, limit: int, max_tries: int) -> list[Unextracted]:
        """Faces of cards not removed whose picture was not looked at under this key.

        Those that failed for good, or ``max_tries`` times, are left out until their picture is
        another; new ones come first, then those of fewest tries.
        """
        ...

    async def count_missing(self, features_key: str, *, max_tries: int) -> int:
        """How many `missing` would answer without a limit."""
        ...

    async def given(self, features_key: str, *, limit: int) -> list[CardFace]:
        """Some faces whose present picture the source gave before."""
        ...

    async def record(self, features_key: str, found: Sequence[Extracted]) -> None:
        """All of them in one transaction; a repetition changes nothing."""
        ...

    async def forget(self, shards: Collection[str]) -> None:
        """Nothing was made of what lay in these shards: they are lost."""
        ...

    async def shards(self, features_key: str) -> dict[str, list[ItemId]]:
        """Shards in order of their paths, with the items whose features are read from each."""
        ...

    async def kept(self) -> set[str]:
        """Shards that any face names, a removed card's too, for it may return."""
        ...

    async def failures(self, features_key: str, *, limit: int) -> list[tuple[ItemId, str]]:
        """Items without features, and why."""
        ...


class Corrections(Protocol):
    """What humans said. Every method may raise `StoreUnavailable`."""

    async def add(self, correction: Correction) -> None:
        """Record it; the same id again changes nothing."""
        ...

    async def recent(self, *, limit: int, skip: int = 0) -> list[Correction]:
        """The newest first, but for the first ``skip`` of them."""
        ...

    async def count(self, owner: str, *, within_s: float) -> int:
        """How many this owner has added in the last seconds."""
        ...

    async def remove(self, correction_ids: Sequence[str]) -> None:
        """Forget them; what is not there is passed over."""
        ...


class CardSource(Protocol):
    """Where cards and their pictures come from. May raise `SourceUnavailable`."""

    @property
    def name(self) -> str:
        """scryfall, folder, sample."""
        ...

    async def plan(self) -> SourcePlan:
        """What there is, without fetching it; ``new_images`` counts every image."""
        ...

    def cards(self, work: Path) -> AsyncIterator[Sequence[Card]]:
        """All cards in chunks; what is downloaded is resumed in ``work``, a folder that stays.

        Only an iteration that ends of itself has told all; `SourceCorrupt` otherwise.
        """
        ...

    async def image(self, face: CardFace) -> bytes:
        """The encoded picture; `UrlUnreachable` and its kin, `TooManyBytes`, `MediaNotFound`.

        `SourceFault` where the server is at fault, over this picture or over all.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
