"""The attempts a runner has in hand: prolonged, reported on, and dropped when they are void."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from omma.domain.errors import StoreUnavailable
from omma.domain.jobs import Hold, Progress
from omma.ports.jobs import JobQueue
from omma.services.attempts import Attempt

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 3
REPORT_INTERVAL_S = 0.5
LONE_INTERVAL_S = 2.0  # each report is an event, and lone jobs may run for hours
RETRY_S = 1.0  # after a heartbeat that found no database


class Holds:
    """What this runner holds; `keep` and `report` run beside the work."""

    def __init__(
        self, queue: JobQueue, *, lease_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue = queue
        self._lease_s = lease_s
        self._clock = clock
        self._attempts: dict[Hold, Attempt] = {}
        self._work: dict[asyncio.Task[None], Collection[Attempt]] = {}
        self._progress: dict[Hold, Progress] = {}
        self._told: dict[Hold, tuple[str, float]] = {}  # the last message of a lone job, and when
        self._changed = asyncio.Condition()

    @property
    def attempts(self) -> list[Attempt]:
        """All in hand."""
        return list(self._attempts.values())

    @property
    def work(self) -> list[asyncio.Task[None]]:
        """The calls that run."""
        return list(self._work)

    @property
    def images(self) -> int:
        """Of all attempts in hand."""
        return sum(len(attempt.images) for attempt in self._attempts.values())

    def take(self, attempt: Attempt) -> None:
        """It is in hand from now on."""
        self._attempts[attempt.hold] = attempt

    def begin(self, task: asyncio.Task[None], attempts: Collection[Attempt]) -> None:
        """``task`` works on ``attempts``; it is cancelled when all of them are void."""
        self._work[task] = attempts
        task.add_done_callback(lambda done: self._work.pop(done, None))

    async def drop(self, hold: Hold) -> None:
        """It is in hand no more."""
        self._attempts.pop(hold, None)
        self._progress.pop(hold, None)
        self._told.pop(hold, None)
        async with self._changed:
            self._changed.notify_all()

    async def room(self, most: int) -> None:
        """Wait until no more than ``most`` images are in hand."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.images <= most)

    def made(self, attempt: Attempt) -> None:
        """Report how far it is, soon."""
        if attempt.hold in self._attempts:
            self._progress[attempt.hold] = attempt.progress

    def tell(self, attempt: Attempt, progress: Progress) -> None:
        """Report what a lone job says of itself: a new message soon, mere numbers now and then."""
        if attempt.hold not in self._attempts:
            return
        message, at = self._told.get(attempt.hold, ("", 0.0))
        now = self._clock()
        if at and message == progress.message and now - at < LONE_INTERVAL_S:
            return
        self._told[attempt.hold] = progress.message, now
        self._progress[attempt.hold] = progress

    async def keep(self) -> None:
        """Prolong every lease, for as long as this runs."""
        pause_s = self._lease_s / BEATS_PER_LEASE
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self._lease_s / BEATS_PER_LEASE
            try:
                await self._renew()
            except StoreUnavailable as error:
                log.warning("could not prolong leases", extra={"reason": str(error)})
                pause_s = min(pause_s, RETRY_S)
            except Exception:
                log.exception("the heartbeat failed in an unforeseen way")

    async def report(self) -> None:
        """Record progress, some of it at a time, for as long as this runs."""
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            progress, self._progress = self._progress, {}
            try:
                if progress:
                    await self._queue.report(list(progress.items()))
            except StoreUnavailable:
                self._progress = progress | self._progress
            except Exception:
                log.exception("reporting progress failed in an unforeseen way")

    async def _renew(self) -> None:
        if not self._attempts:
            return
        for hold in await self._queue.renew(list(self._attempts), lease_s=self._lease_s):
            if attempt := self._attempts.get(hold):
                log.info("lost a job", extra={"job_id": hold.job_id, "attempt": hold.attempt})
                attempt.is_void = True
                await self.drop(hold)
        for task, attempts in list(self._work.items()):
            if all(attempt.is_void for attempt in attempts):
                task.cancel()
