"""Jobs that wait or run, locked before anybody changes them.

Whoever changes a job locks its row of `queue` first, in the order of job ids, and only then
the rows of `jobs`: so no two wait for each other.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Integer, Row, Select, String, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from omma.domain.events import EventKind
from omma.domain.jobs import Hold, JobId, JobState, Json
from omma.stores.records.database import Database
from omma.stores.records.events import NewEvent
from omma.stores.records.sets import given_rows, given_texts, run_for
from omma.stores.records.tables import jobs, queue

ADMISSION = 0x61646D6974  # "admit": the advisory lock's number


@dataclass(frozen=True, slots=True)
class Queued:
    """What a locked row of `queue` says, and its job."""

    hold: Hold
    is_running: bool
    available_at: int | None
    owner: str
    operation: str
    retry_count: int
    max_retries: int
    callback_url: str
    media_store_id: str

    def event(self, kind: EventKind, state: JobState, **more: Json) -> NewEvent:
        """What happens to it, bringing it to ``state``."""
        data = {"operation": self.operation, "state": state.value, "attempt": self.hold.attempt}
        return NewEvent(kind, self.hold.job_id, self.owner, {**data, **more})


@asynccontextmanager
async def changing(database: Database) -> AsyncGenerator[tuple[AsyncConnection, int]]:
    """A transaction that writes, and its time in milliseconds."""
    async with database.write() as connection:
        yield connection, (await connection.execute(select(database.now))).scalar_one()


@asynccontextmanager
async def admitting(database: Database) -> AsyncGenerator[tuple[AsyncConnection, int]]:
    """The same for who adds jobs to the queue or removes them for good: one at a time.

    What is there already, how many of them wait: plain reads decide it, for nobody interferes.
    """
    begin = select(database.now)
    if not database.is_sqlite:  # its writers are one at a time anyway
        begin = begin.add_columns(func.pg_advisory_xact_lock(ADMISSION))
    async with database.write() as connection:
        yield connection, (await connection.execute(begin)).scalar_one()


def waiting_or_running() -> Select[*tuple[Any, ...]]:
    """Rows for `to_queued`; to be narrowed, ordered and locked."""
    return select(
        queue.c.job_id,
        queue.c.attempt,
        queue.c.dequeued_at,
        queue.c.available_at,
        queue.c.created_by,
        queue.c.task_type,
        jobs.c.retry_count,
        jobs.c.max_retries,
        jobs.c.callback_url,
        jobs.c.media_store_id,
    ).join_from(queue, jobs, jobs.c.job_id == queue.c.job_id)


def in_order(rows: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Lock them as everybody does."""
    return rows.order_by(queue.c.job_id).with_for_update(of=queue)


def to_queued(row: Row[Any]) -> Queued:
    """A row of `waiting_or_running`."""
    return Queued(
        hold=Hold(JobId(row.job_id), row.attempt),
        is_running=row.dequeued_at is not None,
        available_at=row.available_at,
        owner=row.created_by,
        operation=row.task_type,
        retry_count=row.retry_count,
        max_retries=row.max_retries,
        callback_url=row.callback_url,
        media_store_id=row.media_store_id,
    )


async def lock_holds(connection: AsyncConnection, holds: Sequence[Hold]) -> dict[Hold, Queued]:
    """The jobs that are still held so, locked; those of void holds are not among them."""
    given = [{"held_id": hold.job_id, "held_attempt": hold.attempt} for hold in set(holds)]
    rows = await run_for(connection, _held, given)
    return {job.hold: job for job in map(to_queued, rows)}


async def lock_jobs(connection: AsyncConnection, job_ids: Sequence[str]) -> list[Queued]:
    """Those of the jobs that wait or run, locked."""
    rows = await run_for(connection, _named, job_ids)
    return [to_queued(row) for row in rows]


@cache
def _held(*, is_sqlite: bool) -> Select[*tuple[Any, ...]]:
    given = given_rows(is_sqlite=is_sqlite, held_id=String(), held_attempt=Integer())
    is_theirs = (queue.c.job_id == given.c.held_id) & (queue.c.attempt == given.c.held_attempt)
    rows = waiting_or_running().join(given, is_theirs)
    return in_order(rows.where(queue.c.dequeued_at.is_not(None)))


@cache
def _named(*, is_sqlite: bool) -> Select[*tuple[Any, ...]]:
    named = given_texts(is_sqlite=is_sqlite)
    return in_order(waiting_or_running().where(queue.c.job_id.in_(named)))
