"""TIFF directories: their numbers, and files that hold chosen entries of one alone."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from omma.domain.errors import TruncatedImage, UndecodableImage
from omma.vision.headers import IFD_ENTRY_BYTES, INTEGERS, ifd_entries

# TIFF 6.0, section 2: bytes of a value by its type
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
NUMBERS = {1: "B", 13: "L", **INTEGERS}  # bytes and offsets too
SHORT = 3
MAX_NUMBERS = 64  # of one entry that is read as numbers
INLINE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """Type and count of an entry, and its value, or where that lies if it is larger."""

    kind: int
    count: int
    value: bytes  # four

    @property
    def outside_bytes(self) -> int:
        """Bytes that the value takes outside of the directory."""
        size = self.count * TYPE_BYTES.get(self.kind, 0)
        return size if size > INLINE_BYTES else 0


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory of a file; of an entry that is there twice, the first counts."""

    data: bytes
    order: str  # as `struct` writes it
    entries: Mapping[int, Entry]
    following: int  # offset of the next page; 0 where there is none, or none is to be found

    def numbers(self, tag: int, *default: int) -> tuple[int, ...]:
        """The numbers of an entry; ``default`` where it is missing, or holds something else."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in NUMBERS or not entry.count:
            return default
        if entry.count > MAX_NUMBERS:
            raise UndecodableImage(f"a TIFF with {entry.count} values of tag {tag}")
        source = self.data if entry.outside_bytes else entry.value
        at = self._offset(entry) if entry.outside_bytes else 0
        return struct.unpack_from(f"{self.order}{entry.count}{NUMBERS[entry.kind]}", source, at)

    def number(self, tag: int, default: int = 0) -> int:
        """The first of an entry's numbers."""
        return self.numbers(tag, default)[0]

    def array(self, tag: int) -> Int64[np.ndarray, " n"]:
        """All of an entry's numbers, however many; none where it is missing."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in NUMBERS:
            return np.empty(0, np.int64)
        source = self.data if entry.outside_bytes else entry.value
        at = self._offset(entry) if entry.outside_bytes else 0
        kind = f"{self.order}u{TYPE_BYTES[entry.kind]}"
        return np.frombuffer(source, kind, entry.count, at).astype(np.int64)

    def count(self, tag: int) -> int:
        """How many values an entry holds; 0 where it is missing."""
        return self.entries[tag].count if tag in self.entries else 0

    def only(self, tags: frozenset[int]) -> "Directory":
        """The same without other entries and without a next page, checked to be all there."""
        entries = {tag: entry for tag, entry in self.entries.items() if tag in tags}
        outside = {entry: self._offset(entry) for entry in entries.values() if entry.outside_bytes}
        if sum(entry.outside_bytes for entry in outside) > len(self.data):
            raise UndecodableImage("a TIFF whose tags claim more than the file holds")
        if any(offset + entry.outside_bytes > len(self.data) for entry, offset in outside.items()):
            raise TruncatedImage("a TIFF that ends before the values of its tags")
        return replace(self, entries=entries, following=0)

    def changed(self, shorts: Mapping[int, int]) -> "Directory":
        """The same with these entries, of one number below 65,536 each."""
        new = {
            tag: Entry(SHORT, 1, struct.pack(self.order + "HH", number, 0))
            for tag, number in shorts.items()
        }
        return replace(self, entries={**self.entries, **new})

    def part(self, tag: int, number: int, parts: int) -> Entry:
        """An entry of the ``number``-th of so many equal runs of another's values."""
        whole = self.entries[tag]
        count = whole.count // parts
        size = TYPE_BYTES.get(whole.kind, 0) * count
        at = self._offset(whole) if whole.outside_bytes else 0
        source = self.data if whole.outside_bytes else whole.value
        if size > INLINE_BYTES:
            return Entry(whole.kind, count, struct.pack(self.order + "L", at + number * size))
        value = source[at + number * size : at + number * size + size]
        return Entry(whole.kind, count, value.ljust(INLINE_BYTES, b"\0"))

    def as_file(self) -> bytes:
        """A file whose only directory this is, at its end; all else stays where it lay."""
        start = len(self.data) + len(self.data) % 2
        entries = (
            struct.pack(self.order + "HHL4s", tag, entry.kind, entry.count, entry.value)
            for tag, entry in sorted(self.entries.items())
        )
        return b"".join((
            self.data[:4],
            struct.pack(self.order + "L", start),
            memoryview(self.data)[8:],
            bytes(start - len(self.data)),
            struct.pack(self.order + "H", len(self.entries)),
            *entries,
            bytes(4),
        ))  # fmt: skip

    def _offset(self, entry: Entry) -> int:
        return struct.unpack(self.order + "L", entry.value)[0]


def read_directory(data: bytes, order: str, offset: int) -> Directory:
    """The directory at ``offset``; raises `struct.error` where the file ends inside of it."""
    (count,) = struct.unpack_from(order + "H", data, offset)
    end = offset + 2 + count * IFD_ENTRY_BYTES
    if end > len(data):
        raise struct.error
    entries: dict[int, Entry] = {}
    for tag, kind, number, value in ifd_entries(data, order, offset):
        entries.setdefault(tag, Entry(kind, number, value))
    has_next = end + INLINE_BYTES <= len(data)
    following = struct.unpack_from(order + "L", data, end)[0] if has_next else 0
    return Directory(data, order, entries, following)


def read_others(first: Directory, tag: int, most: int) -> Iterator[Directory]:
    """The directories that an entry points at, then the pages that follow; no more than ``most``.

    Those that do not lie in the file are passed over.
    """
    try:
        below = first.numbers(tag)
    except (struct.error, UndecodableImage):
        below = ()
    waiting, seen = [*below, first.following], set[int]()
    while waiting and len(seen) < most:
        offset = waiting.pop(0)
        if not offset or offset in seen:
            continue
        seen.add(offset)
        try:
            other = read_directory(first.data, first.order, offset)
        except struct.error:
            continue
        yield other
        if not waiting:
            waiting.append(other.following)
