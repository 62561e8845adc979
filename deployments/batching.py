"""Batches that form when the engine is free, not when a timer says so."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from deployments.lanes import Lanes
from omma.domain.errors import OutOfMemory
from omma.domain.faces import Lane

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class BatchStats:
    """How one batch went."""

    size: int
    queue_wait_ms: float  # of the item that waited longest
    engine_ms: float
    lane: Lane  # of its first item


class _Call(Generic[Result]):
    """The items of one caller: outcomes fill in as their batches end."""

    def __init__(self, size: int) -> None:
        self.outcomes: list[Result | Exception | None] = [None] * size
        self.missing = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def deliver(self, position: int, outcome: Result | Exception) -> None:
        self.outcomes[position] = outcome
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry(Generic[Item, Result]):
    """One item on its way through a batch."""

    item: Item
    call: _Call[Result]
    position: int
    lane: Lane
    since: float  # perf_counter


class Batcher(Generic[Item, Result]):
    """Runs together whatever arrived while the engine was busy, up to ``max_size`` items.

    An idle engine starts at once on a single item; what waits while several streams are free
    is shared out among them. ``run`` answers one result or one exception per item, in order,
    in one of ``streams`` threads; with ``group``, only items of equal group run together.
    Interactive items go before jobs, which keep ``job_floor`` of the items while they wait.
    After `OutOfMemory` the batch is halved and run again, and the size stays lowered.
    ``threads`` are shared by engines that share cores; alone, a batcher makes its own.
    """

    def __init__(  # noqa: PLR0913  each is a knob of its own
        self,
        run: Callable[[list[Item]], Sequence[Result | Exception]],
        *,
        max_size: int,
        streams: int = 1,
        group: Callable[[Item], Hashable] | None = None,
        job_floor: float = 0.1,
        observe: Callable[[BatchStats], None] = lambda _stats: None,
        threads: Executor | None = None,
    ) -> None:
        if max_size < 1 or streams < 1:
            raise ValueError(f"expected sizes of at least 1, got {max_size=}, {streams=}")
        self._run, self._group, self._observe = run, group, observe
        self._max_size, self._streams = max_size, streams
        self._waiting: Lanes[_Entry[Item, Result]] = Lanes(job_floor)
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._threads = threads or ThreadPoolExecutor(streams, thread_name_prefix="batch")

    @property
    def max_size(self) -> int:
        """Most items in one batch: as configured, or lower once memory ran out."""
        return self._max_size

    @property
    def waiting(self) -> int:
        """Items that no engine has taken yet."""
        return len(self._waiting)

    async def __call__(
        self, items: Sequence[Item], *, lane: Lane = Lane.INTERACTIVE
    ) -> list[Result | Exception]:
        """Answer what became of each item, in the order given; a bad one fails alone."""
        if not items:
            return []
        call: _Call[Result] = _Call(len(items))
        since = time.perf_counter()
        for position, item in enumerate(items):
            group = self._group(item) if self._group else None
            self._waiting.put(_Entry(item, call, position, lane, since), lane, group)
        self._wake()
        try:
            await call.done
        except asyncio.CancelledError:
            self._waiting.drop(lambda entry: entry.call is call)
            raise
        return call.outcomes  # pyright: ignore[reportReturnType]  every position is filled

    def close(self) -> None:
        """Let the threads go; batches that run are finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _wake(self) -> None:
        for _ in range(min(self._streams - len(self._tasks), len(self._waiting))):
            task = asyncio.create_task(self._stream())  # begins after this turn's other callers
            self._tasks.add(task)
            task.add_done_callback(self._stream_ended)

    async def _stream(self) -> None:
        while batch := self._waiting.take(self._fair_size()):
            self._busy += 1
            try:
                await self._serve(batch)
            finally:
                self._busy -= 1

    def _fair_size(self) -> int:
        free = self._streams - self._busy
        return min(self._max_size, math.ceil(len(self._waiting) / free))

    async def _serve(self, batch: list[_Entry[Item, Result]]) -> None:
        loop, begun = asyncio.get_running_loop(), time.perf_counter()
        items = [entry.item for entry in batch]
        outcomes, size = await loop.run_in_executor(self._threads, self._outcomes, items)
        engine_ms = (time.perf_counter() - begun) * 1000
        if size < len(batch):
            self._lower(size)
        for entry, outcome in zip(batch, outcomes, strict=True):
            entry.call.deliver(entry.position, outcome)
        wait_ms = (begun - min(entry.since for entry in batch)) * 1000
        self._observe(BatchStats(len(batch), wait_ms, engine_ms, batch[0].lane))

    def _lower(self, size: int) -> None:
        self._max_size = min(self._max_size, size)
        log.warning("lowered the batch size, memory ran out", extra={"max_size": self._max_size})

    def _outcomes(self, items: list[Item]) -> tuple[list[Result | Exception], int]:
        """Run ``items``, in pieces where memory asks for it; also the size that went well."""
        outcomes: list[Result | Exception] = []
        size = len(items)
        while piece := items[len(outcomes) : len(outcomes) + size]:
            try:
                outcomes += self._checked(piece)
            except OutOfMemory as error:
                if len(piece) == 1:
                    outcomes.append(error)
                else:
                    size = len(piece) // 2
            except Exception as error:  # noqa: BLE001  the engine failed: each caller is told
                outcomes += [error] * len(piece)
        return outcomes, size

    def _checked(self, piece: list[Item]) -> Sequence[Result | Exception]:
        results = self._run(piece)
        if len(results) != len(piece):
            raise ValueError(f"expected {len(piece)} results of the engine, got {len(results)}")
        return results

    def _stream_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # the loop is closing
            return
        if error := task.exception():
            log.error("a batch's observer failed", exc_info=error)
        self._wake()  # also for what arrived between the last take and now
