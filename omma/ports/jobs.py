"""What the job services need from the records; runners and routes each see their side."""

from collections.abc import Collection, Sequence
from typing import Protocol

from omma.domain.errors import OmmaError
from omma.domain.jobs import (
    Batch,
    BatchId,
    Claim,
    Completed,
    Counts,
    Failed,
    Hold,
    Job,
    JobFilter,
    JobId,
    JobPage,
    Progress,
    Removed,
    Submission,
)


class JobStore(Protocol):
    """Jobs as clients see them. Every method may raise `StoreUnavailable`."""

    async def submit(
        self, submissions: Sequence[Submission], *, quota: int
    ) -> list[Job | OmmaError]:
        """Record and enqueue all of them in one transaction, each with its own outcome.

        The job that the owner's idempotency key names already, or `DuplicateJob` where the same
        media_store_id waits or runs for the same operation, or `QuotaExceeded` where the owner
        would have more than ``quota`` jobs waiting, counted in the order given.
        """
        ...

    async def get(self, job_id: JobId) -> Job | None:
        """The job of this id, if there is one."""
        ...

    async def page(self, wanted: JobFilter, *, cursor: str, limit: int) -> JobPage:
        """Jobs newest first, no results; `InvalidInput` for a cursor that no page gave."""
        ...

    async def counts(self, owner: str = "") -> Counts:
        """How many jobs there are, of ``owner`` or of all."""
        ...

    async def active(self, owner: str, limit: int) -> list[Job]:
        """The jobs of ``owner``, or of all for "", that wait or run, running first; no results."""
        ...


class JobControl(Protocol):
    """What clients change of jobs that are there."""

    async def cancel(self, job_id: JobId) -> Job | None:
        """End it as `CANCELLED`, waiting or running; one that has ended stays as it is.

        A running attempt is fenced at once: whatever its runner writes later is refused.
        """
        ...

    async def retry(self, job_id: JobId) -> Job | None:
        """Enqueue anew what is in `ERROR` or `CANCELLED`; post anew what is in `SYNC_FAILED`.

        Its retries are counted from zero; a job in another state raises `JobStateConflict`.
        """
        ...

    async def delete(self, wanted: JobFilter | JobId, *, limit: int) -> Removed:
        """Remove at most ``limit`` jobs with all their rows; their files become due to be swept.

        Those that run are cancelled by it. ``files`` of the answer is left 0: the sweeper's.
        """
        ...


class BatchStore(Protocol):
    """Many jobs submitted together: they wait until the batch is closed."""

    async def open(self, batch_id: BatchId, owner: str, operation: str) -> None:
        """Begin a batch; its jobs, submitted with its id, cannot be claimed yet."""
        ...

    async def close(self, batch_id: BatchId) -> None:
        """Let all of its jobs go, in one transaction."""
        ...

    async def abandon(self, batch_id: BatchId) -> None:
        """Remove a batch that was not closed, and its jobs."""
        ...

    async def get(self, batch_id: BatchId) -> Batch | None:
        """The batch of this id, counted by state, if there is one."""
        ...

    async def cancel(self, batch_id: BatchId) -> int:
        """Cancel every job of it that has not ended; how many those were."""
        ...

    async def stale(self, older_than_s: float) -> list[BatchId]:
        """Open batches that got nothing new for that long: their client is gone."""
        ...


class JobQueue(Protocol):
    """Jobs as runners see them. All times are the database's."""

    async def claim(
        self, runner: str, operations: Collection[str], *, limit: int, lease_s: float
    ) -> list[Claim]:
        """Take up to ``limit`` waiting jobs: by priority, then by age. No two runners get one."""
        ...

    async def changes(self) -> object:
        """Differs from the answer before where jobs were submitted, retried or handed back since.

        At times it differs elsewhere, too. It costs far less than to claim, and says nothing of
        jobs whose time has come, nor of batches that were closed.
        """
        ...

    async def renew(self, holds: Sequence[Hold], *, lease_s: float) -> set[Hold]:
        """Prolong the leases; answers those that are void: cancelled, deleted or another's."""
        ...

    async def report(self, progress: Sequence[tuple[Hold, Progress]]) -> None:
        """Record how far they are; void holds are passed over."""
        ...

    async def settle(self, outcomes: Sequence[Completed | Failed]) -> set[Hold]:
        """Record all outcomes in one transaction; answers those that were refused as void.

        `Completed` ends the job, with its callback and its post to the media store due.
        `Failed` enqueues it anew after the delay, at its own priority and age, while it has
        retries left; else it ends in `ERROR` with the failure. One that does not count costs no
        retry, and needs none to be left.
        Repeating a settlement changes nothing and refuses nothing.
        """
        ...

    async def release(self, holds: Sequence[Hold]) -> None:
        """Hand jobs back unharmed: they wait again as before, no retry is counted."""
        ...

    async def expire(self, *, limit: int) -> int:
        """Fail the attempts whose leases have ended (code ``lease_expired``); how many."""
        ...


class QueueDepth(Protocol):
    """How much waits: what scaling and health look at."""

    async def depth(self) -> int:
        """Jobs that could be claimed now."""
        ...
