"""Request bodies, read as they arrive and never past their limit."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request

from omma.api.admission import Ticket
from omma.domain.errors import TooManyBytes, UnsupportedMediaType, UploadTimeout

PIECE_BYTES = 16 * 1024  # parsers take a few milliseconds for so much, whatever it is
TURN_S = 0.005  # a request that has held the event loop for so long lets others have it
MARKS = b"{[,:"  # in JSON: as many as its values, or more
MAX_MARKS = 20_000  # of one value: more is a tree that takes long to build
SLICE_BYTES = 2**20  # counting holds the interpreter's lock: other threads run between slices


def media_type(request: Request) -> str:
    """The Content-Type without its parameters, in lower case; empty when none was sent."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_empty(request: Request) -> bool:
    """Whether the headers already say that no body follows."""
    headers = request.headers
    return headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers


class Turns:
    """Lets the event loop turn amid the work for one request."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._turned_at = self._clock()

    async def take(self) -> None:
        """Let others have the loop, if this request has had it for long enough."""
        if self._clock() - self._turned_at > TURN_S:
            await asyncio.sleep(0)
            self._turned_at = self._clock()


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a body must come: it may be late by ``grace_s``, at its beginning and ever after."""

    grace_s: float
    bytes_per_s: float

    def deadline(self, before: float, size_bytes: int, now: float) -> float:
        """Until when more is to come, where so many bytes came ``now``: time is not saved up."""
        return min(before + size_bytes / self.bytes_per_s, now + self.grace_s)


PACE = Pace(grace_s=30.0, bytes_per_s=2**20)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How a body may come; ``ticket`` holds the room for it."""

    max_bytes: int
    pace: Pace
    ticket: Ticket
    envelope_bytes: int = 0  # on top of the limit, for what a form or JSON wraps around images
    window_bytes: int | None = None  # held at once of a body that is used up as it comes; or all


async def chunks(request: Request, limits: BodyLimits) -> AsyncIterator[bytes]:
    """The body in pieces of at most `PIECE_BYTES`, none of them empty; raises what `_come` does."""
    turns = Turns()
    async for chunk in _come(request, limits):
        for at in range(0, len(chunk), PIECE_BYTES):
            yield chunk[at : at + PIECE_BYTES]
            await turns.take()


async def _come(request: Request, limits: BodyLimits) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises `TooManyBytes` by its header, or as soon as it is counted; `UploadTimeout` when it falls
    behind its pace; `RateLimited` when its subject uploads too much at once. Time that the reader
    spends between two pieces is its own.
    """
    if request.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
        raise UnsupportedMediaType("expected a body without Content-Encoding")
    with limits.ticket.uploading(getattr(request.state, "subject", None)):
        _make_room(_stated_length(request), limits)
        stream, size, turns = aiter(request.stream()), 0, Turns()
        clock = asyncio.get_running_loop().time
        deadline = clock() + limits.pace.grace_s
        try:
            while chunk := await _next(stream, deadline):
                size += len(chunk)
                _make_room(size, limits)
                arrived_at = clock()
                deadline = limits.pace.deadline(deadline, len(chunk), arrived_at)
                yield chunk
                await turns.take()
                deadline += clock() - arrived_at
        except TimeoutError:
            raise UploadTimeout(f"{size} bytes of the body came within the time limit") from None


async def _next(stream: AsyncIterator[bytes], deadline: float) -> bytes:
    async with asyncio.timeout_at(deadline):
        return await anext(stream, b"")


def _stated_length(request: Request) -> int:
    stated = request.headers.get("content-length", "")
    return int(stated) if stated.isascii() and stated.isdigit() else 0


def _make_room(size_bytes: int, limits: BodyLimits) -> None:
    if size_bytes > limits.max_bytes + limits.envelope_bytes:
        raise over(limits.max_bytes)
    window = size_bytes if limits.window_bytes is None else limits.window_bytes
    limits.ticket.hold(min(size_bytes, window))


async def read(request: Request, limits: BodyLimits) -> bytes:
    """The whole body; raises what `_come` does."""
    return b"".join([chunk async for chunk in _come(request, limits)])


def count_marks(text: bytes) -> int:
    """How much structure there may be in JSON: its strings are not told from the rest."""
    slices = range(0, len(text), SLICE_BYTES)
    return sum(text.count(mark, at, at + SLICE_BYTES) for at in slices for mark in MARKS)


def over(max_bytes: int) -> TooManyBytes:
    """The error that names the limit."""
    return TooManyBytes(f"expected at most {max_bytes} bytes")
