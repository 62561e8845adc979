"""Events as they happen, to any number of readers, from one look at the log a process."""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from omma.domain.errors import InvalidInput, JobNotFound, NotReady, StoreUnavailable
from omma.domain.events import Event
from omma.domain.jobs import JobId
from omma.ports.events import EventLog
from omma.ports.jobs import JobStore
from omma.services.attempts import Backoff
from omma.services.following import Course, Follower
from omma.services.overview import QueueOverview
from omma.services.places import RETRY_AFTER_S, Places

log = logging.getLogger(__name__)

CHUNK = 500  # events in one reading: between two the event loop turns
BACKOFF = Backoff(0.1, 5.0)  # of a tailer that fails
BEYOND = 1 << 62  # above every sequence number: nothing is in the ring yet


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """How much is kept, how often the log is looked at, and what streams may cost."""

    poll_interval_s: float = 0.1
    capacity: int = 10_000  # events in memory; who is further behind reads the log
    max_streams: int = 1000
    max_streams_per_subject: int = 200
    keep_alive_s: float = 15.0
    send_timeout_s: float = 30.0


class EventFeed:
    """One tailer of the log, and readers that each keep nothing but their own place."""

    def __init__(self, events: EventLog, jobs: JobStore, options: FeedOptions) -> None:
        self.options = options
        self.queue = QueueOverview(jobs)
        self._log = events
        self._jobs = jobs
        self._ring: list[Event] = []
        self._floor = BEYOND  # the ring has all above it
        self._last = 0
        self._seen: object = None  # the log's changes when it was read last
        self._news = asyncio.Event()
        self._stopped = asyncio.Event()
        self._tailer: asyncio.Task[None] | None = None
        self._places = Places(options.max_streams, options.max_streams_per_subject)

    async def start(self) -> None:
        """Begin to look at the log; what it has already is read by those who ask for it."""
        if self._tailer is None:
            self._tailer = asyncio.create_task(self._tail())

    async def stop(self) -> None:
        """End every reader's stream and the tailer."""
        self._stopped.set()
        self._wake()
        if self._tailer is not None:
            self._tailer.cancel()
            await asyncio.gather(self._tailer, return_exceptions=True)

    def check(self) -> None:
        """Raise `NotReady` when the tailer has died, which it never should."""
        if self._tailer is not None and self._tailer.done() and not self.is_stopped:
            raise NotReady("nobody reads events any more; the log says why", RETRY_AFTER_S)

    async def stopped(self) -> None:
        """Wait for `stop`."""
        await self._stopped.wait()

    @property
    def is_stopped(self) -> bool:
        """Whether there is nothing more to come."""
        return self._stopped.is_set()

    @property
    def streams(self) -> int:
        """How many are open."""
        return self._places.taken

    @contextmanager
    def admit(self, subject: str | None) -> Generator[None]:
        """Hold a place for one stream until the block ends; a subject of None shows no token.

        Raises `NotReady`, and what `Places` does.
        """
        if self.is_stopped:
            raise NotReady("the server is stopping", RETRY_AFTER_S)
        with self._places.hold(subject):
            yield

    async def follow(
        self,
        after: int | None,
        *,
        wants: Callable[[Event], bool],
        job_id: JobId | None = None,
    ) -> Follower:
        """The events above ``after`` that are wanted, of one job or of all; None means from now.

        `InvalidInput` for a place that the log has not reached.
        """
        start = await self._place(after)
        return Follower(self, Course(start, wants, job_id))

    async def follow_job(self, job_id: JobId, after: int | None) -> Follower:
        """All that happens to one job, from its beginning or above ``after``, until it has ended.

        `JobNotFound` where there is no such job.
        """
        start = await self._place(after or 0)
        before = await self._log.last()
        job = await self._jobs.get(job_id)
        if job is None:
            raise JobNotFound("no job with this id")
        # An ended job that is retried goes on: its earlier endings are not the last word.
        until = await self._log.last() if job.state.has_ended else None
        course = Course(start, _everything, job_id, None if until else before, until)
        return Follower(self, course)

    async def _place(self, after: int | None) -> int:
        if after is None:
            return await self._log.last() if self._floor == BEYOND else self._last
        if after > self._last and after > (last := await self._log.last()):
            raise InvalidInput(f"expected an event's id of at most {last}, got {after}")
        return after

    async def _tail(self) -> None:
        failures = 0
        while True:
            try:
                await self._poll()
            except StoreUnavailable as error:
                if not failures:
                    log.warning("cannot read events", extra={"reason": str(error)})
                failures += 1
            except Exception:
                failures += 1
                log.exception("reading events failed in an unforeseen way")
                await asyncio.sleep(BACKOFF.delay_s(failures))
            else:
                failures = 0
            await asyncio.sleep(self.options.poll_interval_s)

    async def _poll(self) -> None:
        if self._floor == BEYOND:
            self._last = await self._log.last()
            self._floor = self._last
            self._wake()  # who read the log before this may have missed some
        changes = await self._log.changes()
        if changes == self._seen:
            return
        while events := await self._log.after(self._last, limit=CHUNK):
            self._publish(events)
        self._seen = changes

    def _publish(self, events: list[Event]) -> None:
        ring = self._ring
        ring.extend(events)
        self._last = events[-1].seq
        if (surplus := len(ring) - self.options.capacity) > 0:
            self._floor = ring[surplus - 1].seq
            del ring[:surplus]
        self._wake()

    def _wake(self) -> None:
        """One object for each wait: a reader that looked before this hears of it."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    @property
    def news(self) -> asyncio.Event:
        """Set when there is more than there is now."""
        return self._news

    @property
    def pause_s(self) -> float:
        """How long to leave a log alone that did not answer."""
        return self.options.poll_interval_s

    async def read(self, seq: int, job_id: JobId | None) -> tuple[list[Event], int]:
        """Some events above ``seq``, and how far one has come with them."""
        if seq >= self._floor:
            start = bisect_right(self._ring, seq, key=_seq)
            events = self._ring[start : start + CHUNK]
            last = self._last
        else:
            last = self._last  # taken before: the log's answer has all up to here, or is full
            events = await self._log.after(seq, limit=CHUNK, job_id=job_id)
        return events, events[-1].seq if len(events) == CHUNK else _highest(seq, last, events)


def _everything(_event: Event) -> bool:
    return True


def _seq(event: Event) -> int:
    return event.seq


def _highest(seq: int, last: int, events: list[Event]) -> int:
    return max(seq, last, events[-1].seq if events else 0)
