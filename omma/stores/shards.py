"""Features of many items in one HDF5 file, and of very many items in many of them.

Everything lies flat: ``offsets`` say where the rows of each item begin, and the last one where
they end. Descriptors are not compressed: gzip would make a shard a quarter smaller and six times
as slow to read. Every chunk has a checksum.
"""

from collections.abc import Collection, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omma.domain.cards import CardId, Features, ItemFeatures, ItemId
from omma.domain.errors import IndexCorrupt
from omma.stores.hdf5 import add, created, opened
from omma.stores.writing import whole_file

FORMAT = 1
RUN_ITEMS = 64  # items read at once: with 500 keypoints each, 5 MB
DESCRIPTOR, KEYPOINT = 128, 4  # columns


def write_shard(path: Path, items: Sequence[ItemFeatures]) -> None:
    """Write ``items`` in their order; whoever looks finds all of the file or none."""
    features = [each.features for each in items]
    with whole_file(path) as written, created(written) as file:
        file.attrs["format"] = FORMAT
        add(file, "card_ids", _texts(each.item.card_id for each in items))
        add(file, "faces", np.array([each.item.face for each in items], np.int32))
        add(file, "illustrations", _texts(each.illustration for each in items))
        sizes = [(each.width_px, each.height_px) for each in features]
        add(file, "sizes", np.array(sizes, np.int32).reshape(-1, 2))
        add(file, "offsets", _offsets(len(each.descriptors) for each in features))
        add(file, "descriptors", _rows((each.descriptors for each in features), DESCRIPTOR, "u1"))
        add(file, "keypoints", _rows((each.keypoints for each in features), KEYPOINT, "f4"))
        add(file, "region_offsets", _offsets(len(each.regions) for each in features))
        regions = bytearray().join(each.regions for each in features)
        add(file, "regions", np.frombuffer(regions, np.uint8))


class ShardedFeatures:
    """`FeatureReader` of the named items of each shard; one run of items in memory at a time."""

    def __init__(self, shards: Sequence[tuple[Path, Collection[ItemId]]]) -> None:
        self._shards = [(path, frozenset(items)) for path, items in shards]

    def __len__(self) -> int:
        return sum(len(items) for _, items in self._shards)

    def read(self) -> Iterable[ItemFeatures]:
        for path, items in self._shards:
            yield from read_shard(path, items)


def read_shard(path: Path, wanted: Collection[ItemId] | None = None) -> Generator[ItemFeatures]:
    """Items in the order of the file, those ``wanted`` or all; `IndexCorrupt` if one is absent."""
    with opened(path) as file:
        shard = _Shard(file, path)
    missing = set(shard.items if wanted is None else wanted)
    for start in range(0, len(shard.items), RUN_ITEMS):
        run = range(start, min(start + RUN_ITEMS, len(shard.items)))
        chosen = [number for number in run if shard.items[number] in missing]
        missing.difference_update(shard.items[number] for number in chosen)
        if chosen:  # the file is closed while the reader works with them
            yield from shard.read(chosen)
    if missing:
        raise IndexCorrupt(f"{path.name} lacks {len(missing)} items that it should hold")


class _Shard:
    """The small columns of a file; the large ones are read in runs."""

    def __init__(self, file: Any, path: Path) -> None:
        if file.attrs.get("format") != FORMAT:
            raise IndexCorrupt(f"{path.name} is not of format {FORMAT}")
        self._path = path
        pairs = zip(_read_texts(file, "card_ids"), file["faces"][:].tolist(), strict=True)
        self.items = [ItemId(CardId(card_id), face) for card_id, face in pairs]
        self._illustrations = _read_texts(file, "illustrations")
        self._sizes: list[tuple[int, int]] = file["sizes"][:].tolist()
        if not len(self.items) == len(self._illustrations) == len(self._sizes):
            raise IndexCorrupt(f"{path.name} has columns of different lengths")
        self._rows = self._checked(file, "offsets", "descriptors", "keypoints")
        self._regions = self._checked(file, "region_offsets", "regions")

    def _checked(self, file: Any, name: str, *columns: str) -> list[int]:
        """Offsets that fit the items and the columns they lead into."""
        offsets = np.asarray(file[name][:], np.int64)
        starts_well = len(offsets) == len(self.items) + 1 and offsets[0] == 0
        ends_well = all(len(file[column]) == offsets[-1] for column in columns)
        if not (starts_well and ends_well and (np.diff(offsets) >= 0).all()):
            raise IndexCorrupt(f"{self._path.name} has {name} that do not fit its rows")
        return [int(offset) for offset in offsets]

    def read(self, numbers: Sequence[int]) -> list[ItemFeatures]:
        """The items of these rising ``numbers``, from one slice of each column."""
        first, end = numbers[0], numbers[-1] + 1
        rows = slice(self._rows[first], self._rows[end])
        bounds = slice(self._regions[first], self._regions[end])
        with opened(self._path) as file:
            descriptors, keypoints = file["descriptors"][rows], file["keypoints"][rows]
            regions: bytes = file["regions"][bounds].tobytes()
        return [
            self._item(
                number,
                keypoints[_within(self._rows, number, rows.start)],
                descriptors[_within(self._rows, number, rows.start)],
                regions[_within(self._regions, number, bounds.start)],
            )
            for number in numbers
        ]

    def _item(
        self,
        number: int,
        keypoints: np.ndarray[Any, Any],
        descriptors: np.ndarray[Any, Any],
        regions: bytes,
    ) -> ItemFeatures:
        width, height = self._sizes[number]
        features = Features(keypoints, descriptors, width, height, regions)
        return ItemFeatures(self.items[number], features, self._illustrations[number])


def _within(offsets: Sequence[int], number: int, start: int) -> slice:
    return slice(offsets[number] - start, offsets[number + 1] - start)


def _texts(texts: Iterable[str]) -> np.ndarray[Any, Any]:
    """UTF-8 in fixed width, which checksums cover."""
    return np.array([text.encode() for text in texts], np.bytes_)


def _read_texts(file: Any, name: str) -> list[str]:
    return [text.decode() for text in file[name][:].tolist()]


def _offsets(lengths: Iterable[int]) -> np.ndarray[Any, Any]:
    return np.cumsum([0, *lengths], dtype=np.int64)


def _rows(arrays: Iterable[np.ndarray[Any, Any]], columns: int, dtype: str) -> np.ndarray[Any, Any]:
    given = [each for each in arrays if len(each)]
    return np.concatenate(given).astype(dtype) if given else np.empty((0, columns), dtype)
