"""Durable jobs as clients see them: asked for, looked at, changed, removed."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from omma.domain.errors import JobNotFound, JobStateConflict, OmmaError, Unavailable
from omma.domain.jobs import (
    Counts,
    Job,
    JobFilter,
    JobId,
    JobPage,
    JobState,
    Removed,
    Submission,
    result_folder,
    upload_folder,
)
from omma.domain.tokens import Principal
from omma.ports.jobs import BatchStore, JobControl, JobStore, QueueDepth
from omma.services.batches import BatchService
from omma.services.gathering import Gathering
from omma.services.intake import Intake, JobRules, Order, as_id
from omma.services.pulse import Pulse

CHUNK = 500  # jobs deleted in one transaction
WITH_RESULTS = frozenset({JobState.COMPLETED, JobState.SYNC_FAILED})
QUEUED = frozenset({JobState.PENDING, JobState.PROCESSING})
ENDED = frozenset(state for state in JobState if state.has_ended)


@dataclass(frozen=True, slots=True)
class Cleanup:
    """Which jobs and files are to go."""

    states: Collection[JobState] = ENDED
    older_than_s: float | None = None
    with_results: bool = True  # False spares jobs that have a result
    with_queued: bool = True  # False spares jobs that wait or run
    with_orphans: bool = False  # also files that no job names


@dataclass(frozen=True, slots=True)
class Stats:
    """How much there is."""

    counts: Counts
    disk_usage_bytes: int


class JobService:
    """Use cases over jobs; what belongs to others looks as if it were not there."""

    def __init__(
        self,
        store: JobStore,
        control: JobControl,
        batches: BatchStore,
        depth: QueueDepth,
        intake: Intake,
    ) -> None:
        self.batches = BatchService(store, batches, intake)
        self.pulse = Pulse(depth, store)
        self._store = store
        self._control = control
        self._intake = intake
        self._submissions = Gathering(self._submit_all)

    @property
    def rules(self) -> JobRules:
        """What jobs may ask for."""
        return self._intake.rules

    async def submit(self, order: Order) -> Job:
        """The new job, or the one that its idempotency key names already."""
        asked = await self._intake.store(self._intake.check(order))
        try:
            job = await self._submissions.ask(asked)
        except Unavailable:
            raise  # it may have been recorded: its files stay
        except OmmaError:
            await self._intake.drop(asked)
            raise
        if job.job_id != asked.job_id:
            await self._intake.drop(asked)
        return job

    async def _submit_all(self, submissions: Sequence[Submission]) -> list[Job | OmmaError]:
        return await self._store.submit(submissions, quota=self._intake.rules.quota)

    async def get(self, job_id: str) -> Job:
        """Any job: who knows its id may see it. Else `JobNotFound`."""
        known = as_id(job_id)
        return _found(await self._store.get(JobId(known)) if known else None)

    async def page(
        self, principal: Principal, wanted: JobFilter, *, cursor: str, limit: int
    ) -> JobPage:
        """Jobs that ``principal`` may see, newest first."""
        if not principal.is_admin:
            wanted = replace(wanted, owner=principal.subject)
        return await self._store.page(wanted, cursor=cursor, limit=limit)

    async def cancel(self, principal: Principal, job_id: str) -> Job:
        """The job, cancelled now or before; `JobStateConflict` when it has ended otherwise."""
        known = await self._owned(principal, job_id)
        job = _found(await self._control.cancel(known.job_id))
        if job.state is not JobState.CANCELLED:
            raise JobStateConflict(f"the job has ended already: {job.state}")
        return job

    async def retry(self, principal: Principal, job_id: str) -> Job:
        """The job, which waits again; `JobStateConflict` where there is nothing to retry."""
        known = await self._owned(principal, job_id)
        return _found(await self._control.retry(known.job_id))

    async def delete(self, principal: Principal, job_id: str) -> None:
        """Remove it with all it has; a running one is cancelled by it."""
        known = await self._owned(principal, job_id)
        removed = await self._control.delete(known.job_id, limit=1)
        if not removed.jobs:
            raise _unknown()

    async def stats(self) -> Stats:
        """How much there is of everybody's."""
        return Stats(await self._store.counts(), await self._intake.files.disk_usage())

    async def clean(self, cleanup: Cleanup) -> Removed:
        """Remove jobs and files, and count what went."""
        states = set(cleanup.states)
        states -= set() if cleanup.with_results else WITH_RESULTS
        states -= set() if cleanup.with_queued else QUEUED
        removed = Removed()
        if states:
            wanted = JobFilter(states=tuple(sorted(states)), older_than_s=cleanup.older_than_s)
            removed = await self._delete_all(wanted)
        if cleanup.with_orphans:
            orphans = await self._intake.files.remove_orphans()
            removed = replace(removed, files=removed.files + orphans)
        return removed

    async def _delete_all(self, wanted: JobFilter) -> Removed:
        jobs = files = queued = 0
        while (some := await self._control.delete(wanted, limit=CHUNK)).jobs:
            jobs, queued = jobs + some.jobs, queued + some.queue_entries
            files += await self._remove_files(some.job_ids)
        return Removed(jobs, files, queued)

    async def _remove_files(self, job_ids: Sequence[JobId]) -> int:
        """At once, to count them; the sweeper looks at the folders again."""
        remove, count = self._intake.files.remove_folder, 0
        for job_id in job_ids:
            folders = (result_folder(job_id), upload_folder(job_id), f"attempts/{job_id}")
            count += sum(await asyncio.gather(*map(remove, folders)))
        return count

    async def _owned(self, principal: Principal, job_id: str) -> Job:
        job = await self.get(job_id)
        if not principal.may_see(job.asked.owner):
            raise _unknown()
        return job


def _found(job: Job | None) -> Job:
    if job is None:
        raise _unknown()
    return job


def _unknown() -> JobNotFound:
    return JobNotFound("no job with this id")  # not whose: unknown and foreign read alike
