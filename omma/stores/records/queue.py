"""The queue as runners see it: every write is fenced by the attempt it speaks for."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Integer, String, Text, bindparam, func, insert, select, update
from sqlalchemy.sql.dml import Insert, ReturningUpdate, Update

from omma.domain.events import EventKind
from omma.domain.jobs import Claim, Completed, Failed, Hold, Job, JobState, Progress
from omma.stores.records.database import Database
from omma.stores.records.events import NewEvent, append_events, new_event
from omma.stores.records.locking import Queued, changing, lock_holds
from omma.stores.records.rows import to_job
from omma.stores.records.sets import given_rows, given_texts, run_for
from omma.stores.records.settling import expire, settle
from omma.stores.records.tables import attempts, jobs, queue
from omma.stores.records.transitions import Change, Followers, apply


class SqlJobQueue:
    """JobQueue and QueueDepth over SQL."""

    def __init__(
        self, database: Database, *, default_callback: bool = False, media_store: bool = False
    ) -> None:
        self._database = database
        self._followers = Followers(default_callback=default_callback, media_store=media_store)

    async def claim(
        self, runner: str, operations: Collection[str], *, limit: int, lease_s: float
    ) -> list[Claim]:
        async with changing(self._database) as (connection, now):
            until = now + round(lease_s * 1000)
            who = {"runner": runner, "operations": sorted(operations)}
            wanted = {**who, "now": now, "until": until, "most": limit}
            taken = (await connection.execute(_TAKE, wanted)).all()
            places = {row.job_id: (-row.priority, row.position) for row in taken}
            rows = await run_for(connection, _start, list(places), now=now)
            started = sorted(map(to_job, rows), key=lambda job: places[job.job_id])
            await run_for(connection, _note_attempts, [_attempt(j, runner, now) for j in started])
            happened = [new_event(EventKind.STARTED, job) for job in started]
            await append_events(connection, now, happened)
        return [Claim(job, Hold(job.job_id, job.attempt)) for job in started]

    async def changes(self) -> object:
        return await self._database.changes()

    async def renew(self, holds: Sequence[Hold], *, lease_s: float) -> set[Hold]:
        async with changing(self._database) as (connection, now):
            held = await lock_holds(connection, holds)
            until = now + round(lease_s * 1000)
            await run_for(connection, _prolong, [hold.job_id for hold in held], until=until)
        return set(holds) - set(held)

    async def report(self, progress: Sequence[tuple[Hold, Progress]]) -> None:
        async with changing(self._database) as (connection, now):
            held = await lock_holds(connection, [hold for hold, _ in progress])
            made = [(held[hold], how_far) for hold, how_far in progress if hold in held]
            latest = {job.hold.job_id: json.dumps(asdict(how_far)) for job, how_far in made}
            rows = [{"about": job_id, "made": text} for job_id, text in latest.items()]
            await run_for(connection, _report, rows)
            told = [_progressed(job, how_far) for job, how_far in made]
            await append_events(connection, now, told)

    async def settle(self, outcomes: Sequence[Completed | Failed]) -> set[Hold]:
        async with changing(self._database) as (connection, now):
            return await settle(connection, now, outcomes, self._followers)

    async def release(self, holds: Sequence[Hold]) -> None:
        async with changing(self._database) as (connection, now):
            held = await lock_holds(connection, holds)
            await apply(connection, now, [_released(job) for job in held.values()])

    async def expire(self, *, limit: int) -> int:
        async with changing(self._database) as (connection, now):
            return await expire(connection, now, limit, self._followers)

    async def depth(self) -> int:
        is_claimable = queue.c.dequeued_at.is_(None) & (queue.c.available_at <= self._database.now)
        async with self._database.read() as connection:
            count = select(func.count()).select_from(queue).where(is_claimable)
            return await connection.scalar(count) or 0


def _attempt(job: Job, runner: str, now: int) -> dict[str, Any]:
    return {"about": job.job_id, "number": job.attempt, "who": runner, "at": now}


def _progressed(job: Queued, made: Progress) -> NewEvent:
    return job.event(EventKind.PROGRESS, JobState.PROCESSING, progress=asdict(made))


def _released(job: Queued) -> Change:
    """It waits as it did before: no retry is counted, its time has come already."""
    return Change(
        job,
        JobState.PENDING,
        EventKind.RETRYING,
        "released",
        retry_count=job.retry_count,
        available_at=job.available_at,
    )


_NEXT = (  # the one statement that gives no two runners the same job
    select(queue.c.id)
    .where(queue.c.dequeued_at.is_(None), queue.c.available_at.is_not(None))
    .where(queue.c.available_at <= bindparam("now", type_=BigInteger))
    .where(queue.c.task_type.in_(bindparam("operations", expanding=True)))
    .order_by(queue.c.priority.desc(), queue.c.position)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
    .cte("next")
)
_TAKE = (
    update(queue)
    .where(queue.c.id == _NEXT.c.id)
    .values(
        attempt=queue.c.attempt + 1,
        dequeued_at=bindparam("now", type_=BigInteger),
        worker_id=bindparam("runner", type_=String),
        lease_until=bindparam("until", type_=BigInteger),
    )
    .returning(queue.c.job_id, queue.c.priority, queue.c.position)
)


@cache
def _start(*, is_sqlite: bool) -> ReturningUpdate[*tuple[Any, ...]]:
    taken = given_texts(is_sqlite=is_sqlite)
    started = (
        update(jobs)
        .where(jobs.c.job_id.in_(taken))
        .values(
            status=JobState.PROCESSING.value,
            started_at=func.coalesce(jobs.c.started_at, bindparam("now", type_=BigInteger)),
            attempt=jobs.c.attempt + 1,
            progress=None,
        )
    )
    return started.returning(*jobs.c)


@cache
def _note_attempts(*, is_sqlite: bool) -> Insert:
    given = given_rows(
        is_sqlite=is_sqlite, about=String(), number=Integer(), who=String(), at=BigInteger()
    )
    names = ["job_id", "attempt", "runner", "started_at"]
    return insert(attempts).from_select(names, select(given))


@cache
def _prolong(*, is_sqlite: bool) -> Update:
    held = given_texts(is_sqlite=is_sqlite)
    until = bindparam("until", type_=BigInteger)
    return update(queue).where(queue.c.job_id.in_(held)).values(lease_until=until)


@cache
def _report(*, is_sqlite: bool) -> Update:
    given = given_rows(is_sqlite=is_sqlite, about=String(), made=Text())
    return update(jobs).where(jobs.c.job_id == given.c.about).values(progress=given.c.made)
