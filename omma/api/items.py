"""The items of a batch, one after the other as the body comes: never all of them in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import ijson  # pyright: ignore[reportMissingTypeStubs]
import orjson
from ijson.common import (  # pyright: ignore[reportMissingTypeStubs]
    IncompleteJSONError,
    JSONError,
    ObjectBuilder,
)

from omma.api.bodies import MAX_MARKS, count_marks
from omma.api.images import LARGE_JSON_BYTES
from omma.domain.errors import InvalidInput, TooManyBytes

ITEMS, KIND = "items", "type"
MARKS_DUE = 1024  # so much structure is worth another look


async def json_items(
    chunks: AsyncIterator[bytes], max_bytes: int, kind: list[str]
) -> AsyncIterator[Any]:
    """The members of ``items`` in one JSON object; a ``type`` before them is put into ``kind``."""
    reader = _Reader(kind)
    parse = ijson.basic_parse_coro(reader.events, use_float=True)
    text = _Gathered(max_bytes)
    try:
        async for chunk in chunks:
            text.add(chunk, reader.count)
            if text.is_due:
                await _unless_large(parse.send, text.take())
                for item in reader.take():
                    text = _Gathered(max_bytes)
                    yield item
        if rest := text.take():
            await _unless_large(parse.send, rest)
        parse.close()
        for item in reader.take():
            yield item
    except (IncompleteJSONError, JSONError) as error:
        raise InvalidInput(f"malformed JSON after item {reader.count - 1}: {error}") from None
    if not reader.has_items:
        raise InvalidInput(f"expected an object with {ITEMS!r}")


async def line_items(chunks: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[Any]:
    """One item a line; empty lines are passed over."""
    line, count = _Gathered(max_bytes), 0
    async for chunk in _ended(chunks):
        end, *more = chunk.split(b"\n")
        line.add(end, count)
        if not more:
            continue
        for text in (line.take(), *more[:-1]):
            if text and not text.isspace():
                yield await _unless_large(partial(_read_line, count), text)
                count += 1
        line = _Gathered(max_bytes)
        line.add(more[-1], count)


async def _ended(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk
    yield b"\n"  # the last line may lack its own


def _read_line(index: int, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"item {index}: malformed JSON: {error}") from None


async def _unless_large(work: Callable[[bytes], Any], text: bytes) -> Any:
    """What ``work`` makes of the text; in a thread, where it would hold the event loop."""
    return await asyncio.to_thread(work, text) if len(text) > LARGE_JSON_BYTES else work(text)


class _Gathered:
    """The pieces of an item that has not ended: joined once they are due, not piece by piece."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []  # not yet taken
        self._size = self._taken = 0  # bytes
        self._marks = self._marks_taken = 0

    def add(self, piece: bytes, index: int) -> None:
        """One more piece of the item at ``index``; raises what is wrong with so much of it."""
        self._pieces.append(piece)
        self._size += len(piece)
        self._marks += count_marks(piece)
        if self._size > self._max_bytes:
            raise TooManyBytes(f"item {index}: expected at most {self._max_bytes} bytes")
        if self._marks > MAX_MARKS:
            raise InvalidInput(f"item {index}: expected less structure")

    @property
    def is_due(self) -> bool:
        """Whether to parse on: parsers read a value again from its start with each piece."""
        is_long = self._size >= 2 * self._taken
        return is_long or self._marks - self._marks_taken >= MARKS_DUE

    def take(self) -> bytes:
        """All that came since the last call."""
        text, self._pieces = b"".join(self._pieces), []
        self._taken, self._marks_taken = self._size, self._marks
        return text


class _Reader:
    """Follows the parser to the items; everything else is passed over."""

    def __init__(self, kind: list[str]) -> None:
        self.events: list[tuple[str, Any]] = ijson.sendable_list()
        self.count = 0  # items that were whole
        self.has_items = False
        self._kind = kind
        self._depth = 0
        self._key = ""  # of the object itself
        self._is_within = False
        self._builder: Any = None  # an ObjectBuilder, which has no types

    def take(self) -> Iterator[Any]:
        """The items that have been completed."""
        for name, value in self.events:
            yield from self._follow(name, value)
        self.events.clear()

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
            self._builder = ObjectBuilder()
        self._builder.event(name, value)
        if self._depth == 2 and not opens:  # noqa: PLR2004  object, array: the item is whole
            item, self._builder = self._builder.value, None
            self.count += 1
            yield item
