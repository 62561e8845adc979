"""Jobs as clients submit and read them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select

from omma.domain.errors import InvalidInput, OmmaError
from omma.domain.jobs import Counts, Job, JobFilter, JobId, JobPage, JobState, Submission
from omma.stores.records.admission import admit
from omma.stores.records.database import Database
from omma.stores.records.locking import admitting
from omma.stores.records.rows import LISTED, conditions, to_job, to_jobs
from omma.stores.records.tables import jobs, queue

LARGE = 64 * 1024  # characters of a result: reading more would hold the event loop
LONGEST_CURSOR = 18  # digits; the next would be beyond every id


class SqlJobStore:
    """JobStore over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(
        self, submissions: Sequence[Submission], *, quota: int
    ) -> list[Job | OmmaError]:
        if not submissions:
            return []
        async with admitting(self._database) as (connection, now):
            return await admit(connection, now, submissions, quota)

    async def get(self, job_id: JobId) -> Job | None:
        async with self._database.read() as connection:
            rows = await connection.execute(select(jobs).where(jobs.c.job_id == job_id))
            row = rows.one_or_none()
        if row is None:
            return None
        if len(row.result or "") > LARGE:
            return await asyncio.to_thread(to_job, row)
        return to_job(row)

    async def page(self, wanted: JobFilter, *, cursor: str, limit: int) -> JobPage:
        chosen = select(*LISTED).where(*conditions(wanted, self._database.now))
        if cursor:
            chosen = chosen.where(jobs.c.id < _id_of(cursor))
        async with self._database.read() as connection:
            newest = chosen.order_by(jobs.c.id.desc()).limit(limit + 1)
            rows = (await connection.execute(newest)).all()
        more = str(rows[limit - 1].id) if len(rows) > limit else ""
        return JobPage(tuple(await to_jobs(rows[:limit])), more)

    async def counts(self, owner: str = "") -> Counts:
        states = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        waiting = select(func.count()).select_from(queue).where(queue.c.dequeued_at.is_(None))
        if owner:
            states = states.where(jobs.c.created_by == owner)
            waiting = waiting.where(queue.c.created_by == owner)
        async with self._database.read() as connection:
            by_state = {JobState(state): n for state, n in await connection.execute(states)}
            queued = await connection.scalar(waiting)
        return Counts(by_state, queued or 0)

    async def active(self, owner: str, limit: int) -> list[Job]:
        async with self._database.read() as connection:
            rows = (await connection.execute(_active(owner).limit(limit))).all()
        return await to_jobs(rows)


def _active(owner: str) -> Select[*tuple[Any, ...]]:
    rows = select(*LISTED).select_from(jobs).join(queue, queue.c.job_id == jobs.c.job_id)
    if owner:
        rows = rows.where(queue.c.created_by == owner)
    waits = queue.c.dequeued_at.is_(None)
    return rows.order_by(waits, queue.c.priority.desc(), queue.c.position)


def _id_of(cursor: str) -> int:
    if cursor.isascii() and cursor.isdecimal() and len(cursor) <= LONGEST_CURSOR:
        return int(cursor)
    raise InvalidInput(f"expected a cursor that a page gave, got {cursor!r}")
