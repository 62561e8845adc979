"""What came of attempts: recorded once, however often it is told."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import Integer, Select, String, select
from sqlalchemy.ext.asyncio import AsyncConnection

from omma.domain.errors import LeaseExpired
from omma.domain.events import EventKind
from omma.domain.jobs import Completed, Failed, Failure, Hold, JobId, JobState
from omma.stores.records.locking import Queued, lock_holds, to_queued, waiting_or_running
from omma.stores.records.rows import clean
from omma.stores.records.sets import given_rows, run_for
from omma.stores.records.tables import attempts, queue
from omma.stores.records.transitions import Change, Followers, apply

Outcome = Completed | Failed

EXPIRED = Failure(LeaseExpired.code, "the runner that held the job went silent")
EXPIRED_DELAY_S = 1.0  # the lease was wait enough; not at once, should the job kill its runner


async def settle(
    connection: AsyncConnection, now: int, outcomes: Sequence[Outcome], followers: Followers
) -> set[Hold]:
    """Record the outcomes of holds that stand; answers the others, but not those told before."""
    held = await lock_holds(connection, [outcome.hold for outcome in outcomes])
    first: dict[Hold, Outcome] = {}
    for outcome in outcomes:
        if outcome.hold in held:
            first.setdefault(outcome.hold, outcome)
    changes = [_change(held[hold], outcome, now) for hold, outcome in first.items()]
    late = [outcome for outcome in outcomes if first.get(outcome.hold) != outcome]
    endings = {hold: _ending(outcome) for hold, outcome in first.items()}
    endings |= await _recorded(connection, [o.hold for o in late if o.hold not in held])
    await apply(connection, now, changes, followers)
    return {outcome.hold for outcome in late if endings.get(outcome.hold) != _ending(outcome)}


async def expire(connection: AsyncConnection, now: int, limit: int, followers: Followers) -> int:
    """Fail attempts whose runners went silent; rows that others lock are theirs to end."""
    is_late = queue.c.dequeued_at.is_not(None) & (queue.c.lease_until < now)
    late = waiting_or_running().where(is_late).order_by(queue.c.lease_until).limit(limit)
    rows = await connection.execute(late.with_for_update(of=queue, skip_locked=True))
    jobs = [to_queued(row) for row in rows]
    failed = [_change(job, Failed(job.hold, EXPIRED, EXPIRED_DELAY_S), now) for job in jobs]
    await apply(connection, now, failed, followers)
    return len(jobs)


def _change(job: Queued, outcome: Outcome, now: int) -> Change:
    if isinstance(outcome, Completed):
        return Change(
            job,
            JobState.COMPLETED,
            EventKind.COMPLETED,
            "completed",
            retry_count=job.retry_count,
            result=outcome.result,
            metrics=outcome.metrics,
            has_files=outcome.has_files,
        )
    return _failure(job, outcome, now)


def _failure(job: Queued, failed: Failed, now: int) -> Change:
    failure = replace(failed.failure, message=clean(failed.failure.message))
    is_last = failed.counts and job.retry_count >= job.max_retries
    if failed.delay_s is None or is_last:
        return Change(
            job,
            JobState.ERROR,
            EventKind.FAILED,
            "failed",
            failure=failure,
            retry_count=job.retry_count,
        )
    return Change(
        job,
        JobState.PENDING,
        EventKind.RETRYING,
        "failed",
        failure=failure,
        retry_count=job.retry_count + failed.counts,
        available_at=now + round(failed.delay_s * 1000),
    )


def _ending(outcome: Outcome) -> tuple[str, str | None]:
    """How its attempt is recorded; the same settlement told twice is told by it."""
    if isinstance(outcome, Completed):
        return "completed", None
    return "failed", outcome.failure.code


async def _recorded(
    connection: AsyncConnection, holds: Sequence[Hold]
) -> dict[Hold, tuple[str, str | None]]:
    given = [{"held_id": hold.job_id, "held_attempt": hold.attempt} for hold in holds]
    rows = await run_for(connection, _endings, given)
    return {Hold(JobId(row.job_id), row.attempt): (row.outcome, row.error_code) for row in rows}


@cache
def _endings(*, is_sqlite: bool) -> Select[*tuple[Any, ...]]:
    given = given_rows(is_sqlite=is_sqlite, held_id=String(), held_attempt=Integer())
    is_theirs = attempts.c.job_id == given.c.held_id
    return (
        select(attempts)
        .join(given, is_theirs & (attempts.c.attempt == given.c.held_attempt))
        .where(attempts.c.ended_at.is_not(None))
    )
