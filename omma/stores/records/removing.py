"""Jobs that go for good, with every row of theirs; their files become due to be swept."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, Select, String, delete, literal, select, true
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert, ReturningDelete

from omma.domain.events import EventKind
from omma.domain.jobs import JobId, JobState, Removed, result_folder, upload_folder
from omma.stores.records.events import NewEvent, append_events
from omma.stores.records.locking import Queued, lock_jobs
from omma.stores.records.sets import given_rows, given_texts, run_for
from omma.stores.records.tables import jobs, sweeps
from omma.stores.records.upserts import upsert


async def remove(
    connection: AsyncConnection, now: int, meant: Sequence[ColumnElement[bool]], limit: int
) -> Removed:
    """Remove the oldest of those that are meant; nobody may enqueue one of them meanwhile."""
    oldest = select(jobs.c.job_id).where(*meant).order_by(jobs.c.id).limit(limit)
    job_ids = list(await connection.scalars(oldest))
    queued = await lock_jobs(connection, job_ids)
    if connection.dialect.name != "sqlite":  # which has no locks of rows
        await run_for(connection, _lock, job_ids)
    removed = await run_for(connection, _remove, job_ids)
    folders = sorted(folder for row in removed for folder in _folders(row.job_id))
    await run_for(connection, _sweep, [{"name": folder, "at": now} for folder in folders])
    in_order = sorted(removed, key=lambda row: row.id)
    cut_off = {job.hold.job_id: job for job in queued}
    happened = [event for row in in_order for event in _events(row, cut_off.get(row.job_id))]
    await append_events(connection, now, happened)
    gone = tuple(JobId(row.job_id) for row in in_order)
    return Removed(jobs=len(gone), queue_entries=len(queued), job_ids=gone)


def _folders(job_id: JobId) -> tuple[str, str, str]:
    """Its attempts', its results' and its uploads'."""
    return f"attempts/{job_id}", result_folder(job_id), upload_folder(job_id)


def _events(row: Row[Any], queued: Queued | None) -> list[NewEvent]:
    """Who looks at the queue hears that a job left it, too."""
    state = JobState(row.status) if queued is None else JobState.CANCELLED
    data = {"operation": row.task_type, "state": state.value, "attempt": row.attempt}
    deleted = NewEvent(EventKind.DELETED, JobId(row.job_id), row.created_by, data)
    return [deleted] if queued is None else [queued.event(EventKind.CANCELLED, state), deleted]


@cache
def _lock(*, is_sqlite: bool) -> Select[*tuple[Any, ...]]:
    """As `SqlDeliveries.settle` locks them: in the order of job ids."""
    named = given_texts(is_sqlite=is_sqlite)
    chosen = select(jobs.c.id).where(jobs.c.job_id.in_(named))
    return chosen.order_by(jobs.c.job_id).with_for_update()


@cache
def _remove(*, is_sqlite: bool) -> ReturningDelete[*tuple[Any, ...]]:
    named = given_texts(is_sqlite=is_sqlite)
    told = (jobs.c.id, jobs.c.job_id, jobs.c.created_by, jobs.c.task_type, jobs.c.status)
    return delete(jobs).where(jobs.c.job_id.in_(named)).returning(*told, jobs.c.attempt)


@cache
def _sweep(*, is_sqlite: bool) -> Insert:
    given = given_rows(is_sqlite=is_sqlite, name=String(), at=BigInteger())
    rows = select(given.c.name, given.c.at, literal(0)).where(true())  # SQLite's grammar wants it
    added = upsert(sweeps, is_sqlite=is_sqlite).from_select(["folder", "due_at", "passes"], rows)
    fresh = {"due_at": added.excluded.due_at, "passes": 0}
    return added.on_conflict_do_update(index_elements=["folder"], set_=fresh)
