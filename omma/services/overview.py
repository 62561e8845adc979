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
class _Look:
    """One reading, under way or done."""

    task: asyncio.Task[QueueStatus]
    good_until: float  # of the monotonic clock


class QueueOverview:
    """Reads the queue at most once a second for each owner."""

    def __init__(self, jobs: JobStore, *, fresh_s: float = FRESH_S) -> None:
        self._jobs = jobs
        self._fresh_s = fresh_s
        self._looks: dict[str, _Look] = {}
        self._known: dict[str, QueueStatus] = {}

    async def of(self, owner: str) -> QueueStatus:
        """The queue of ``owner``, or of all for "", a second old at most.

        While the database is away that is what was known last, or `StoreUnavailable`.
        """
        look = self._looks.get(owner)
        if look is None or (look.task.done() and time.monotonic() >= look.good_until):
            look = self._look(owner)
        try:
            return await asyncio.shield(look.task)  # whoever leaves, the others still wait
        except StoreUnavailable:
            if known := self._known.get(owner):
                return known
            raise

    def _look(self, owner: str) -> _Look:
        self._forget_some()
        task = asyncio.create_task(self._read(owner))
        look = self._looks[owner] = _Look(task, time.monotonic() + self._fresh_s)
        return look

    async def _read(self, owner: str) -> QueueStatus:
        started = time.monotonic()
        active = await self._jobs.active(owner, LISTED)
        count = len(active) if len(active) < LISTED else await self._count(owner)
        ended = await self._jobs.page(JobFilter(owner=owner, states=ENDED), cursor="", limit=RECENT)
        status = QueueStatus(tuple(active), count, ended.jobs, datetime.now(UTC), started)
        took_s = time.monotonic() - started
        self._looks[owner].good_until = started + max(self._fresh_s, SHARE * took_s)
        self._known[owner] = status
        return status

    async def _count(self, owner: str) -> int:
        counts = await self._jobs.counts(owner)
        return sum(counts.by_state.get(state, 0) for state in ACTIVE)

    def _forget_some(self) -> None:
        """Owners that were looked at long ago make room."""
        while len(self._looks) >= MOST_OWNERS:
            oldest = next(iter(self._looks))
            del self._looks[oldest]
            self._known.pop(oldest, None)
