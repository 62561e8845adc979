"""The items of a batch, one after the other as the body comes: never all of them in memory."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import ijson  # pyright: ignore[reportMissingTypeStubs]
import orjson
from ijson.common import (  # pyright: ignore[reportMissingTypeStubs]
    IncompleteJSONError,
    JSONError,
    ObjectBuilder,
)

from omma.domain.errors import InvalidInput, TooManyBytes

ITEMS, KIND = "items", "type"
MAX_EVENTS = 20_000  # of one item: more is a tree that takes long to build


async def json_items(
    chunks: AsyncIterator[bytes], max_bytes: int, kind: list[str]
) -> AsyncIterator[Any]:
    """The members of ``items`` in one JSON object; a ``type`` before them is put into ``kind``."""
    reader = _Reader(max_bytes, kind)
    parse = ijson.basic_parse_coro(reader.events, use_float=True)
    try:
        async for chunk in chunks:
            parse.send(chunk)
            for item in reader.take(len(chunk)):
                yield item
        parse.close()
        for item in reader.take(0):
            yield item
    except (IncompleteJSONError, JSONError) as error:
        raise InvalidInput(f"malformed JSON after item {reader.count - 1}: {error}") from None
    if not reader.has_items:
        raise InvalidInput(f"expected an object with {ITEMS!r}")


async def line_items(chunks: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[Any]:
    """One item a line; empty lines are passed over."""
    rest, count = b"", 0
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > max_bytes:
            raise _too_long(count + len(lines), max_bytes)
        for line in lines:
            if line.strip():
                yield _read_line(line, count, max_bytes)
                count += 1
    if rest.strip():
        yield _read_line(rest, count, max_bytes)


def _read_line(line: bytes, index: int, max_bytes: int) -> Any:
    if len(line) > max_bytes:
        raise _too_long(index, max_bytes)
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"item {index}: malformed JSON: {error}") from None


class _Reader:
    """Follows the parser to the items; everything else is passed over."""

    def __init__(self, max_bytes: int, kind: list[str]) -> None:
        self.events: list[tuple[str, Any]] = ijson.sendable_list()
        self.count = 0  # items that were whole
        self.has_items = False
        self._kind = kind
        self._max_bytes = max_bytes
        self._since_last = 0  # bytes
        self._events_of_item = 0
        self._depth = 0
        self._key = ""  # of the object itself
        self._is_within = False
        self._builder: Any = None  # an ObjectBuilder, which has no types

    def take(self, size_bytes: int) -> Iterator[Any]:
        """The items that these bytes have completed."""
        before = self.count
        for name, value in self.events:
            yield from self._follow(name, value)
        self.events.clear()
        self._since_last = size_bytes if self.count > before else self._since_last + size_bytes
        if self._since_last > self._max_bytes:
            raise _too_long(self.count, self._max_bytes)

    def _follow(self, name: str, value: Any) -> Iterator[Any]:
        if not self._depth and name != "start_map":
            raise InvalidInput(f"expected an object with {ITEMS!r}")
        opens, closes = name.startswith("start_"), name.startswith("end_")
        if closes:
            self._depth -= 1
        if self._is_within:
            yield from self._within(name, value, opens=opens)
        else:
            self._outside(name, value)
        if opens:
            self._depth += 1

    def _outside(self, name: str, value: Any) -> None:
        if self._depth != 1:
            return
        if name == "map_key":
            self._key = value
        elif self._key == ITEMS and name != "end_map":
            if name != "start_array" or self.has_items:
                raise InvalidInput(f"expected {ITEMS!r} once, as an array")
            self._is_within = self.has_items = True
        elif self._key == KIND and name == "string":
            self._kind.append(value)

    def _within(self, name: str, value: Any, *, opens: bool) -> Iterator[Any]:
        if self._depth == 1:  # the array's own end
            self._is_within, self._key = False, ""
            return
        if self._builder is None:
            self._builder, self._events_of_item = ObjectBuilder(), 0
        self._events_of_item += 1
        if self._events_of_item > MAX_EVENTS:
            raise InvalidInput(f"item {self.count}: expected less structure")
        self._builder.event(name, value)
        if self._depth == 2 and not opens:  # noqa: PLR2004  object, array: the item is whole
            item, self._builder = self._builder.value, None
            self.count += 1
            yield item


def _too_long(index: int, max_bytes: int) -> TooManyBytes:
    return TooManyBytes(f"item {index}: expected at most {max_bytes} bytes")
