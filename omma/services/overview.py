"""The queue as its watchers see it: read once for all of them, however many events there are."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from omma.domain.errors import StoreUnavailable
from omma.domain.jobs import Job, JobFilter, JobState
from omma.ports.jobs import JobStore

FRESH_S = 1.0
SHARE = 20  # a look that takes long is kept the longer: looking is 5% of a database at most
LISTED, RECENT = 100, 10
MOST_OWNERS = 1000
ACTIVE = (JobState.PENDING, JobState.PROCESSING)
ENDED = tuple(state for state in JobState if state.has_ended)


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The jobs of one owner, or of all, at one moment."""

    active: tuple[Job, ...]  # running ones first, `LISTED` at most
    active_count: int
    recent: tuple[Job, ...]  # that have ended, newest first
    at: datetime
    looked_at: float  # of the monotonic clock: what happened later may not be in it


@dataclass(slots=True)
class _Reading:
    """The latest reading of one owner's queue, and what the last good one found."""

    task: asyncio.Task[QueueStatus] | None = None
    good_until: float = 0.0  # of the monotonic clock
    known: QueueStatus | None = None

    @property
    def is_old(self) -> bool:
        """Whether it is done, and another is due."""
        is_done = self.task is not None and self.task.done()
        return is_done and time.monotonic() >= self.good_until


class QueueOverview:
    """Reads the queue at most once a second for each owner."""

    def __init__(
        self, jobs: JobStore, *, fresh_s: float = FRESH_S, most_owners: int = MOST_OWNERS
    ) -> None:
        self._jobs = jobs
        self._fresh_s = fresh_s
        self._most_owners = most_owners
        self._readings: dict[str, _Reading] = {}  # the owner asked for last is last

    async def of(self, owner: str) -> QueueStatus:
        """The queue of ``owner``, or of all for "", a second old at most.

        While the database is away that is what was known last, or `StoreUnavailable`.
        """
        reading = self._readings.pop(owner, None) or _Reading()
        self._readings[owner] = reading
        while len(self._readings) > self._most_owners:
            del self._readings[next(iter(self._readings))]
        if reading.task is None or reading.is_old:
            reading.good_until = time.monotonic() + self._fresh_s
            reading.task = asyncio.create_task(self._read(owner, reading))
        try:
            return await asyncio.shield(reading.task)  # whoever leaves, the others still wait
        except StoreUnavailable:
            if reading.known:
                return reading.known
            raise

    async def _read(self, owner: str, reading: _Reading) -> QueueStatus:
        started = time.monotonic()
        active = await self._jobs.active(owner, LISTED)
        count = len(active) if len(active) < LISTED else await self._count(owner)
        ended = await self._jobs.page(JobFilter(owner=owner, states=ENDED), cursor="", limit=RECENT)
        status = QueueStatus(tuple(active), count, ended.jobs, datetime.now(UTC), started)
        took_s = time.monotonic() - started
        reading.good_until = started + max(self._fresh_s, SHARE * took_s)
        reading.known = status
        return status

    async def _count(self, owner: str) -> int:
        counts = await self._jobs.counts(owner)
        return sum(counts.by_state.get(state, 0) for state in ACTIVE)
