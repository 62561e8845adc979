"""Serves one snapshot of an index while it makes the next one ready beside it."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from omma.domain.errors import IndexMissing, NotReady, OmmaError, StoreUnavailable
from omma.domain.indexes import Published
from omma.ports.indexes import Servings, SnapshotFiles, Snapshots
from omma.services.attempts import Backoff
from omma.services.retiring import Engine, Held, Shift

log = logging.getLogger(__name__)

REPORTS = 3  # within the time that a report counts
RETRY_AFTER_S = 5
BACKOFF = Backoff(1.0, 60.0)  # of a snapshot that cannot be made ready

Engine_contra = TypeVar("Engine_contra", contravariant=True)


class SwapObserver(Protocol[Engine_contra]):
    """Who counts what becomes of snapshots."""

    def swapped(self, published: Published, engine: Engine_contra) -> None:
        """This is served from now on."""
        ...

    def failed(self, published: Published, error: Exception) -> None:
        """This could not be made ready; called once for each reason."""
        ...


@dataclass(frozen=True, slots=True)
class SwapPlaces:
    """Where snapshots are published, where their files lie, where it is told what is served."""

    snapshots: Snapshots
    files: SnapshotFiles
    servings: Servings


@dataclass(frozen=True, slots=True)
class SwapOptions:
    """Of which index, as whom, and how often."""

    name: str
    replica: str  # unique among all that serve
    poll_interval_s: float = 1.0
    serving_ttl_s: float = 60.0
    backoff: Backoff = BACKOFF


@dataclass(frozen=True, slots=True)
class _Failure:
    """A published snapshot that could not be made ready."""

    published: Published
    times: int
    retry_at: float
    reason: type[Exception]


class SnapshotSwap(Generic[Engine]):
    """Follows what is published of one index, in one process.

    The next snapshot is fetched, opened and warmed up beside the one that is served; then the
    reference is swapped. Calls that run end on the one they began with, which is closed after the
    last of them. What cannot be made ready is tried again ever more seldom, and changes nothing.
    """

    def __init__(
        self,
        places: SwapPlaces,
        opened: Callable[[Path, str], Engine],
        options: SwapOptions,
        *,
        observer: SwapObserver[Engine] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``opened`` opens a folder's index of a version and warms it up; it runs in a thread."""
        self._snapshots, self._files = places.snapshots, places.files
        self._servings = places.servings
        self._opened = opened
        self._options = options
        self._observer = observer
        self._clock = clock
        self._shift: Shift[Engine] = Shift(options.name)
        self._failure: _Failure | None = None
        self._is_known = False  # whether anything was ever published
        self._is_away = False  # the database, or what else is asked of what is published
        self._report_at = float("-inf")
        self._running: asyncio.Task[None] | None = None

    @property
    def published(self) -> Published | None:
        """What is served now."""
        held = self._shift.held
        return held and held.published

    @contextmanager
    def lease(self) -> Generator[Held[Engine]]:
        """The snapshot that is served now, kept open meanwhile.

        `IndexMissing` where none was published, `NotReady` while the first is made ready.
        """
        held = self._shift.held
        if held is None:
            raise self._missing()
        with self._shift.calling(held):
            yield held

    def start(self) -> None:
        """Follow what is published until stopped."""
        self._running = asyncio.create_task(self._run(), name=f"swap {self._options.name}")

    def check(self) -> None:
        """Raise `NotReady` when following has died, which it never should.

        An index that is missing is not unhealthy: a new replica would find none either.
        """
        if self._running is not None and self._running.done():
            raise NotReady("the index is followed no more; its replica's log says why")

    async def stop(self) -> None:
        """Follow no more, and let go of what is served as soon as no call runs on it."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        with suppress(OmmaError):
            await self._servings.leave(self._options.name, self._options.replica)
        self._shift.change(None)
        await self._shift.closed()

    async def _run(self) -> None:
        """What is served is told all the while that the next one is made ready."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self.follow))
            group.create_task(self._repeat(self.report))

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await step()
            pause_s = self._options.poll_interval_s * random.uniform(0.8, 1.2)  # noqa: S311
            await asyncio.sleep(pause_s)

    async def follow(self) -> None:
        """Look once at what is published, and serve it if that can be."""
        try:
            published = await self._snapshots.published(self._options.name)
        except Exception as error:  # noqa: BLE001  what is served goes on whatever is away
            self._away(error)
            return
        self._is_away = False
        if published is None:
            return
        self._is_known = True
        if self._is_due(published) and await self._served(published):
            await self._evict()
            await self.report()

    async def report(self) -> None:
        """Say what is served when that is new, or when the last word is soon forgotten."""
        held, options = self._shift.held, self._options
        if held is None or self._clock() < self._report_at:
            return
        try:
            await self._servings.report(
                options.name, options.replica, held.published.version, ttl_s=options.serving_ttl_s
            )
        except Exception as error:  # noqa: BLE001  it is said again soon
            self._away(error)
            return
        if self._shift.held is held:  # else it is old by now
            self._report_at = self._clock() + options.serving_ttl_s / REPORTS

    def _is_due(self, published: Published) -> bool:
        if self.published == published:
            self._failure = None  # rolled back from what could not be made ready
            return False
        failure = self._failure
        if failure is None or failure.published != published:
            return True
        return self._clock() >= failure.retry_at

    async def _served(self, published: Published) -> bool:
        started = self._clock()
        try:
            folder = await self._files.fetch(self._options.name, published.version)
            engine = await self._in_thread(folder, published.version)
        except Exception as error:  # noqa: BLE001  engines fail in their own ways
            self._failed(published, error)
            return False
        self._shift.change(Held(published, engine))
        self._failure = None
        self._report_at = float("-inf")
        extra = {"index": self._options.name, "snapshot": published.version}
        log.info("serving a snapshot", extra=extra | {"took_s": self._clock() - started})
        if self._observer is not None:
            self._observer.swapped(published, engine)
        return True

    async def _in_thread(self, folder: Path, version: str) -> Engine:
        """Open it; an engine that comes when nobody waits any more is closed."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._opened, folder, version))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_late)
            raise

    async def _evict(self) -> None:
        try:
            await self._files.evict(self._options.name, self._shift.versions)
        except Exception as error:  # noqa: BLE001  the next swap tries it again
            log.warning("old copies of snapshots stay", extra={"reason": str(error)})

    def _failed(self, published: Published, error: Exception) -> None:
        before = self._failure
        if before is not None and before.published != published:
            before = None
        times = before.times + 1 if before else 1
        retry_at = self._clock() + self._options.backoff.delay_s(times)
        self._failure = _Failure(published, times, retry_at, type(error))
        if before is None or before.reason is not type(error):  # else it is known
            self._tell(published, error)

    def _tell(self, published: Published, error: Exception) -> None:
        extra = {"index": self._options.name, "snapshot": published.version, "reason": str(error)}
        if isinstance(error, StoreUnavailable):
            log.warning("a snapshot cannot be fetched now", extra=extra)
        else:
            unforeseen = None if isinstance(error, OmmaError) else error
            log.error("a snapshot cannot be served", extra=extra, exc_info=unforeseen)
        if self._observer is not None:
            self._observer.failed(published, error)

    def _away(self, error: Exception) -> None:
        if self._is_away:
            return
        self._is_away = True
        extra = {"index": self._options.name, "reason": str(error)}
        if isinstance(error, OmmaError):
            log.warning("what is published cannot be asked", extra=extra)
        else:
            log.error("what is published cannot be asked", extra=extra, exc_info=error)

    def _missing(self) -> NotReady:
        name = self._options.name
        if self._failure is not None:
            return NotReady(
                f"the index {name!r} cannot be made ready; its replica's log says why",
                RETRY_AFTER_S,
            )
        if self._is_known:
            return NotReady(f"the index {name!r} is being made ready", 1)
        return IndexMissing(
            f"no snapshot of the index {name!r} was published yet:"
            f" `omma indexes rebuild {name}` makes one",
            RETRY_AFTER_S,
        )


def _close_late(opening: asyncio.Task[Engine]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
