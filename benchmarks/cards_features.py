"""Features of drawn and real cards, made once: `python -m benchmarks.cards_features --cards N`."""

import multiprocessing
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.cards_corpus import Corpus, corpus_parser
from benchmarks.cards_original import INDEXED, Seen, look
from omma.domain.cards import CardId, ItemFeatures, ItemId
from omma.engines.cards import SiftCardEngines
from omma.stores.shards import read_shard, write_shard

PER_SHARD = 500
BACK = "000-back"


@dataclass(frozen=True, slots=True)
class Shards:
    """Both kinds of features of `PER_SHARD` drawn cards in a file each, by their first number."""

    work: Path

    def ours(self, first: int) -> Path:
        """Of the shard that begins with this card."""
        return self.work / "features" / SiftCardEngines().features_key / f"{first:06d}.h5"

    def theirs(self, first: int) -> Path:
        """As the original saw them."""
        return self.work / "features" / "original" / f"{first:06d}.npz"

    def make(self, first: int) -> None:
        """Look at the cards of one shard, unless that was done."""
        cv2.setNumThreads(1)
        corpus, numbers = Corpus(self.work), range(first, first + PER_SHARD)
        if not self.ours(first).exists():
            engines = SiftCardEngines()
            items = [_item(engines, corpus, number) for number in numbers]
            self.ours(first).parent.mkdir(parents=True, exist_ok=True)
            write_shard(self.ours(first), items)

    def make_both(self, first: int) -> None:
        """The same, and as the original does."""
        self.make(first)
        corpus, numbers = Corpus(self.work), range(first, first + PER_SHARD)
        if not self.theirs(first).exists():
            self.theirs(first).parent.mkdir(parents=True, exist_ok=True)
            _write(self.theirs(first), [look(corpus.picture(n), INDEXED) for n in numbers])


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """`FeatureReader` of shards, and of items that lie in memory."""

    shards: tuple[Path, ...]
    others: tuple[ItemFeatures, ...]

    def __len__(self) -> int:
        return PER_SHARD * len(self.shards) + len(self.others)

    def read(self) -> Iterable[ItemFeatures]:
        """Those in memory come last."""
        for path in self.shards:
            yield from read_shard(path)
        yield from self.others


def name_of(number: int) -> str:
    """Card id of a drawn card."""
    return f"drawn-{number:06d}"


def read_theirs(path: Path) -> list[Seen]:
    """What `Shards.make` wrote."""
    with np.load(path) as file:
        ends = np.cumsum(file["counts"])[:-1]
        places, descriptors = (np.split(file[name], ends) for name in ("places", "descriptors"))
    return [Seen(p, d) for p, d in zip(places, descriptors, strict=True)]


def real_cards(data: Path) -> dict[str, bytes]:
    """Encoded pictures of single real cards by name, fronts only."""
    files = sorted([*(data / "cards/scans").glob("*.webp"), *(data / "cards/named").glob("*.*")])
    return {file.stem: file.read_bytes() for file in files if file.stem != BACK}


def decoded(encoded: bytes) -> np.ndarray:
    """RGB pixels."""
    bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(np.asarray(bgr), cv2.COLOR_BGR2RGB)


def make_all(work: Path, count: int, processes: int, *, both: bool = True) -> float:
    """Make what is absent of the first ``count`` drawn cards; seconds that it took."""
    begun, firsts = time.perf_counter(), range(0, count, PER_SHARD)
    shards = Shards(work)
    make = shards.make_both if both else shards.make
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, _ in enumerate(pool.imap(make, firsts), 1):
            took_s = time.perf_counter() - begun
            print(f"looked at {done * PER_SHARD} of {count} in {took_s:.0f} s", flush=True)
    return time.perf_counter() - begun


def _item(engines: SiftCardEngines, corpus: Corpus, number: int) -> ItemFeatures:
    features = engines.extract(corpus.path(number).read_bytes())
    art = f"art-{corpus.original(number)}"
    return ItemFeatures(ItemId(CardId(name_of(number))), features, art)


def _write(path: Path, seen: list[Seen]) -> None:
    part = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(
        part,
        counts=[len(s.places) for s in seen],
        places=np.concatenate([s.places for s in seen]),
        descriptors=np.concatenate([s.descriptors for s in seen]),
    )
    os.replace(part, path)


def main() -> None:
    """Look at every card of a corpus that is drawn."""
    args, _ = corpus_parser(__doc__).parse_known_args()
    make_all(args.work, args.cards, args.processes)


if __name__ == "__main__":
    main()
