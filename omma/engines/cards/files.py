"""The files of an index: what `building` writes and `open` maps into memory."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64, Shaped, UInt8, UInt16

from omma.domain.cards import CardId, ItemId
from omma.domain.errors import IndexCorrupt
from omma.domain.indexes import IndexStats
from omma.engines.cards.packing import unpack
from omma.vision.keypoints import DIMENSION

FORM = 1  # of the files; another one is not read
HEAD = "engine.json"  # written last
CODES = "codes.faiss"
NAMES = "items.json"
OFFSETS = "offsets.i64"  # of every item's first descriptor, and of its first byte of regions
SIZES = "sizes.u16"  # of every item's picture: width, height
OWNERS = "owners.i32"  # of every descriptor: the item
PLACES = "places.u16"  # of every descriptor: x, y, size, angle, in steps of `STEPS`
DESCRIPTORS = "descriptors.u8"
REGIONS = "regions.bin"
STEPS = np.array([1 / 32, 1 / 32, 1 / 64, 360 / 65_536], np.float32)  # px, px, px, degrees


@dataclass(frozen=True, slots=True)
class Head:
    """What the files are, and how large."""

    form: int
    version: str
    items: int
    vectors: int
    sizes: dict[str, int] = field(default_factory=dict[str, int])  # bytes of every other file

    def write(self, folder: Path) -> None:
        """To disk, for good."""
        path = folder / HEAD
        path.write_text(json.dumps(asdict(self), indent=1))
        sync(path)

    @classmethod
    def read(cls, folder: Path) -> "Head":
        """Raises `IndexCorrupt` where files are missing or of other sizes than it says."""
        try:
            head = cls(**json.loads((folder / HEAD).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise IndexCorrupt(f"no readable {HEAD} in the snapshot") from error
        if head.form != FORM:
            raise IndexCorrupt(f"expected files of form {FORM}, got {head.form!r}")
        for name, size in head.sizes.items():
            path = folder / Path(name).name
            if not path.is_file() or path.stat().st_size != size:
                raise IndexCorrupt(f"expected {size} bytes of {name}")
        return head

    @property
    def stats(self) -> IndexStats:
        """How large the index is."""
        return IndexStats(self.items, self.vectors, sum(self.sizes.values()))


class IndexFiles:
    """Everything of an index but its codes, mapped into memory; read only, from any thread."""

    def __init__(self, folder: Path) -> None:
        head = Head.read(folder)
        items, vectors = head.items, head.vectors
        self.stats = head.stats
        offsets = _map(folder / OFFSETS, np.int64, (items + 1, 2))
        self.first: Int64[np.ndarray, " i"] = np.array(offsets[:, 0])
        self._bytes: Int64[np.ndarray, " i"] = np.array(offsets[:, 1])
        self.sizes: UInt16[np.ndarray, "i 2"] = np.array(
            _map(folder / SIZES, np.uint16, (items, 2))
        )
        self.owners: Int32[np.ndarray, " n"] = _map(folder / OWNERS, np.int32, (vectors,))
        self._places: UInt16[np.ndarray, "n 4"] = _map(folder / PLACES, np.uint16, (vectors, 4))
        self._descriptors: UInt8[np.ndarray, "n 128"] = _map(
            folder / DESCRIPTORS, np.uint8, (vectors, DIMENSION)
        )
        self._regions = _map(folder / REGIONS, np.uint8, (int(self._bytes[-1]),))
        self.items, self.illustrations = _read_names(folder / NAMES, items)
        self._check(vectors)

    def places(self, rows: Int64[np.ndarray, " m"] | slice) -> np.ndarray:
        """x, y, size in px of the item's picture, angle in degrees, of those descriptors."""
        return self._places[rows] * STEPS

    def rows(self, item: int) -> slice:
        """Which descriptors are the item's."""
        return slice(int(self.first[item]), int(self.first[item + 1]))

    def descriptors(self, rows: slice) -> UInt8[np.ndarray, "m 128"]:
        """Those descriptors themselves."""
        return self._descriptors[rows]

    def look(self, item: int) -> bytes:
        """The item from afar; empty where its features came without."""
        return self._kept(item)[0]

    def regions(self, item: int) -> bytes:
        """What tells the item from other printings; empty where its features came without."""
        return self._kept(item)[1]

    def _kept(self, item: int) -> tuple[bytes, bytes]:
        rows = slice(int(self._bytes[item]), int(self._bytes[item + 1]))
        return unpack(self._regions[rows].tobytes())

    def _check(self, vectors: int) -> None:
        ends = (int(self.first[0]), int(self.first[-1]), int(self._bytes[0]))
        if ends != (0, vectors, 0) or (np.diff(self.first) < 0).any():
            raise IndexCorrupt("the items do not add up to the descriptors")
        if vectors and not 0 <= int(self.owners[-1]) < len(self.items):
            raise IndexCorrupt("a descriptor is of no item")


def quantise(places: Shaped[np.ndarray, "n 4"]) -> UInt16[np.ndarray, "n 4"]:
    """Keypoints in steps of `STEPS`; beyond what 16 bits hold, the nearest that they do."""
    steps = np.rint(places / STEPS)
    steps[:, 3] %= 65_536
    return np.clip(steps, 0, 65_535).astype(np.uint16)


def sync(path: Path) -> None:
    """Have the file's bytes on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_names(path: Path, items: list[ItemId], illustrations: list[str]) -> None:
    """Columns, so that a hundred thousand are read in a fraction of a second."""
    columns = {
        "card_ids": [item.card_id for item in items],
        "faces": [item.face for item in items],
        "illustrations": illustrations,
    }
    path.write_text(json.dumps(columns, separators=(",", ":")))


def _read_names(path: Path, count: int) -> tuple[list[ItemId], list[str]]:
    try:
        columns = json.loads(path.read_text())
        items = [
            ItemId(CardId(card_id), face)
            for card_id, face in zip(columns["card_ids"], columns["faces"], strict=True)
        ]
        illustrations: list[str] = columns["illustrations"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexCorrupt("the names of the items cannot be read") from error
    if (len(items), len(illustrations)) != (count, count):
        raise IndexCorrupt(f"expected the names of {count} items, got {len(items)}")
    return items, illustrations


def _map(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not path.is_file() or path.stat().st_size != expected:
        raise IndexCorrupt(f"expected {expected} bytes of {path.name}")
    if not expected:
        return np.zeros(shape, dtype)  # an empty file cannot be mapped
    # an ndarray over the map: memmap's own indexing is three times slower
    mapped: np.ndarray = np.memmap(path, dtype, mode="r", shape=shape)
    return np.asarray(mapped)
