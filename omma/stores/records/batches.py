"""Many jobs that were submitted together."""

from typing import Any

from sqlalchemy import Select, Update, case, delete, func, insert, select, update

from omma.domain.errors import BatchNotFound
from omma.domain.jobs import Batch, BatchId, JobState
from omma.stores.records.database import Database, from_ms
from omma.stores.records.locking import (
    admitting,
    changing,
    in_order,
    to_queued,
    waiting_or_running,
)
from omma.stores.records.removing import remove
from omma.stores.records.tables import batches, jobs, queue
from omma.stores.records.transitions import apply, cancelled

EVERY = 1_000_000  # jobs; no batch comes near


class SqlBatchStore:
    """BatchStore over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, batch_id: BatchId, owner: str, operation: str) -> None:
        async with changing(self._database) as (connection, now):
            row = {"batch_id": batch_id, "created_by": owner, "task_type": operation}
            await connection.execute(insert(batches).values(created_at=now, **row))

    async def close(self, batch_id: BatchId) -> None:
        async with admitting(self._database) as (connection, now):
            closed_at = func.coalesce(batches.c.closed_at, now)
            this = update(batches).where(batches.c.batch_id == batch_id)
            if not (await connection.execute(this.values(closed_at=closed_at))).rowcount:
                raise BatchNotFound(batch_id)
            await connection.execute(in_order(_of(batch_id)))
            await connection.execute(_let_go(batch_id, now))

    async def abandon(self, batch_id: BatchId) -> None:
        is_open = (batches.c.batch_id == batch_id) & batches.c.closed_at.is_(None)
        async with admitting(self._database) as (connection, now):
            if await connection.scalar(select(batches.c.batch_id).where(is_open)):
                await remove(connection, now, [jobs.c.batch_id == batch_id], EVERY)
                await connection.execute(delete(batches).where(is_open))

    async def get(self, batch_id: BatchId) -> Batch | None:
        states = select(jobs.c.status, func.count()).where(jobs.c.batch_id == batch_id)
        async with self._database.read() as connection:
            rows = await connection.execute(select(batches).where(batches.c.batch_id == batch_id))
            row = rows.one_or_none()
            counts = await connection.execute(states.group_by(jobs.c.status))
            by_state = {JobState(state): number for state, number in counts}
        if row is None:
            return None
        created_at = from_ms(row.created_at)
        total = sum(by_state.values())
        return Batch(batch_id, row.created_by, row.task_type, created_at, total, by_state)

    async def cancel(self, batch_id: BatchId) -> int:
        async with changing(self._database) as (connection, now):
            queued = map(to_queued, await connection.execute(in_order(_of(batch_id))))
            changes = [cancelled(job) for job in queued]
            await apply(connection, now, changes)
        return len(changes)

    async def stale(self, older_than_s: float) -> list[BatchId]:
        before = self._database.now - round(older_than_s * 1000)
        last_item = select(func.max(jobs.c.created_at))
        last_item = last_item.where(jobs.c.batch_id == batches.c.batch_id).scalar_subquery()
        touched_at = func.coalesce(last_item, batches.c.created_at)
        is_stale = batches.c.closed_at.is_(None) & (touched_at < before)
        async with self._database.read() as connection:
            oldest = select(batches.c.batch_id).where(is_stale).order_by(batches.c.created_at)
            return [BatchId(batch_id) for batch_id in await connection.scalars(oldest)]


def _of(batch_id: BatchId) -> Select[*tuple[Any, ...]]:
    return waiting_or_running().where(jobs.c.batch_id == batch_id)


def _let_go(batch_id: BatchId, now: int) -> Update:
    starts_later = case((jobs.c.not_before > now, jobs.c.not_before), else_=now)
    return (
        update(queue)
        .where(queue.c.job_id == jobs.c.job_id, jobs.c.batch_id == batch_id)
        .where(queue.c.available_at.is_(None))
        .values(available_at=starts_later)
    )
