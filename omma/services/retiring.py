"""Opened snapshots: the one that is served, and older ones until the last call on them ends."""

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from omma.domain.indexes import Published

log = logging.getLogger(__name__)


class Closable(Protocol):
    """An opened index."""

    def close(self) -> None:
        """Let go of its files; nobody calls anything afterwards."""
        ...


Engine = TypeVar("Engine", bound=Closable)


@dataclass(slots=True, eq=False)
class Held(Generic[Engine]):
    """An opened snapshot and how many calls run on it."""

    published: Published
    engine: Engine
    calls: int = 0


class Shift(Generic[Engine]):
    """One snapshot on duty, the retired ones closed after the last of their calls."""

    def __init__(self, name: str) -> None:
        """``name`` is the index's, for the log."""
        self._name = name
        self._retired: set[Held[Engine]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self.held: Held[Engine] | None = None

    @property
    def versions(self) -> list[str]:
        """Of all that are open, in order."""
        return sorted({held.published.version for held in (self.held, *self._retired) if held})

    @contextmanager
    def calling(self, held: Held[Engine]) -> Generator[Held[Engine]]:
        """Keep it open meanwhile."""
        held.calls += 1
        try:
            yield held
        finally:
            held.calls -= 1
            self._close_unused(held)

    def change(self, new: Held[Engine] | None) -> None:
        """Serve ``new`` from now on, or nothing."""
        old, self.held = self.held, new
        if old is not None:
            self._retired.add(old)
            self._close_unused(old)

    async def closed(self) -> None:
        """Wait for those that are being closed."""
        await asyncio.gather(*self._closing)

    def _close_unused(self, held: Held[Engine]) -> None:
        """Closing may take a while: it unmaps what may be gigabytes."""
        if held in self._retired and not held.calls:
            self._retired.remove(held)
            task = asyncio.create_task(self._close(held))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, held: Held[Engine]) -> None:
        try:
            await asyncio.to_thread(held.engine.close)
        except Exception:
            extra = {"index": self._name, "snapshot": held.published.version}
            log.exception("an index could not be closed", extra=extra)
