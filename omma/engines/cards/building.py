"""Building an index: once over the items for a sample to train on, once more to add them all."""

from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import UInt8

from omma.domain.cards import ItemFeatures, ItemId
from omma.domain.indexes import IndexStats
from omma.engines.cards import files
from omma.engines.cards.codes import SAMPLES_PER_LIST, Codes, lists_for
from omma.engines.cards.options import CardEngineOptions
from omma.ports.cards import FeatureReader
from omma.vision.keypoints import DIMENSION

CHUNK = 65_536  # descriptors that are added at once: 100 MB while they are
SEED = 0  # the same items give the same index


def build(
    reader: FeatureReader, folder: Path, version: str, options: CardEngineOptions
) -> IndexStats:
    """Write a whole index into the empty ``folder``; memory does not grow with the items."""
    sample, vectors = draw_sample(reader, options)
    codes = Codes.train(sample, vectors, options)
    del sample
    with _Writer(folder, codes) as writer:
        for item in reader.read():
            writer.add(item)
    return writer.finish(version)


def draw_sample(
    reader: FeatureReader, options: CardEngineOptions
) -> tuple[UInt8[np.ndarray, "n 128"], int]:
    """Descriptors of all items alike (a reservoir), and how many there are in all."""
    most = SAMPLES_PER_LIST * lists_for(len(reader) * options.picture_keypoints)
    sample = np.empty((max(most, 1), DIMENSION), np.uint8)
    rng = np.random.default_rng(SEED)
    seen = 0
    for item in reader.read():
        descriptors = item.features.descriptors
        numbers = seen + np.arange(len(descriptors))
        seats = np.where(numbers < most, numbers, rng.integers(0, numbers + 1))
        taken = seats < most
        sample[seats[taken]] = descriptors[taken]
        seen += len(descriptors)
    return sample[: min(seen, most)], seen


class _Writer:
    """Appends items to every file of an index."""

    def __init__(self, folder: Path, codes: Codes) -> None:
        self._folder = folder
        self._codes = codes
        self._items: list[ItemId] = []
        self._illustrations: list[str] = []
        self._vectors = self._region_bytes = 0
        self._waiting: list[np.ndarray] = []
        self._open = ExitStack()
        names = (files.OFFSETS, files.SIZES, files.OWNERS, files.PLACES)
        self._files = {
            name: self._open.enter_context((folder / name).open("wb"))
            for name in (*names, files.DESCRIPTORS, files.REGIONS)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, item: ItemFeatures) -> None:
        """Append one item."""
        seen = item.features
        count = len(seen.descriptors)
        self._append(files.OFFSETS, np.array([self._vectors, self._region_bytes], np.int64))
        self._append(files.SIZES, np.array([seen.width_px, seen.height_px], np.uint16))
        self._append(files.OWNERS, np.full(count, len(self._items), np.int32))
        self._append(files.PLACES, files.quantise(seen.keypoints))
        self._append(files.DESCRIPTORS, np.ascontiguousarray(seen.descriptors, np.uint8))
        self._files[files.REGIONS].write(seen.regions)
        self._items.append(item.item)
        self._illustrations.append(item.illustration)
        self._vectors += count
        self._region_bytes += len(seen.regions)
        self._waiting.append(seen.descriptors)
        if sum(map(len, self._waiting)) >= CHUNK:
            self._code()

    def finish(self, version: str) -> IndexStats:
        """Bring everything to the disk; the head comes last."""
        self._code()
        with (self._folder / files.OFFSETS).open("ab") as file:
            file.write(np.array([self._vectors, self._region_bytes], np.int64).tobytes())
        self._codes.write(self._folder / files.CODES)
        files.write_names(self._folder / files.NAMES, self._items, self._illustrations)
        names = (*self._files, files.CODES, files.NAMES)
        for name in names:
            files.sync(self._folder / name)
        sizes = {name: (self._folder / name).stat().st_size for name in names}
        head = files.Head(files.FORM, version, len(self._items), self._vectors, sizes)
        head.write(self._folder)
        return head.stats

    def _append(self, name: str, values: np.ndarray) -> None:
        self._files[name].write(values.tobytes())

    def _code(self) -> None:
        if self._waiting:
            self._codes.add(np.concatenate(self._waiting))
            self._waiting.clear()
