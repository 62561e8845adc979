"""What clients change of jobs that are there."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Select, Update, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from omma.domain.errors import JobStateConflict
from omma.domain.events import EventKind
from omma.domain.jobs import Job, JobFilter, JobId, JobState, Removed
from omma.stores.records.admission import duplicate, enqueue, is_active
from omma.stores.records.database import Database
from omma.stores.records.events import append_events, new_event
from omma.stores.records.locking import admitting, changing, lock_jobs
from omma.stores.records.removing import remove
from omma.stores.records.rows import conditions, to_job
from omma.stores.records.sets import run_for
from omma.stores.records.tables import batches, callbacks, jobs, media_store_sync_status
from omma.stores.records.transitions import apply, cancelled


class SqlJobControl:
    """JobControl over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def cancel(self, job_id: JobId) -> Job | None:
        async with changing(self._database) as (connection, now):
            queued = await lock_jobs(connection, [job_id])
            await apply(connection, now, [cancelled(job) for job in queued])
            return await _read(connection, select(jobs).where(jobs.c.job_id == job_id))

    async def retry(self, job_id: JobId) -> Job | None:
        async with admitting(self._database) as (connection, now):
            wanted = select(jobs).where(jobs.c.job_id == job_id).with_for_update()
            job = await _read(connection, wanted)
            if job is None:
                return None
            match job.state:
                case JobState.SYNC_FAILED:
                    job = await _post_anew(connection, now, job)
                case JobState.ERROR | JobState.CANCELLED:
                    job = await _enqueue_anew(connection, now, job)
                case _:
                    raise JobStateConflict(f"a job that is {job.state.value} cannot be retried")
            await append_events(connection, now, [new_event(EventKind.RETRYING, job)])
        return job

    async def delete(self, wanted: JobFilter | JobId, *, limit: int) -> Removed:
        async with admitting(self._database) as (connection, now):
            if isinstance(wanted, JobFilter):
                meant = conditions(wanted, self._database.now)
            else:
                meant = [jobs.c.job_id == wanted]
            return await remove(connection, now, meant, limit)


async def _read(connection: AsyncConnection, wanted: Select[*tuple[Any, ...]]) -> Job | None:
    row = (await connection.execute(wanted)).one_or_none()
    return to_job(row) if row else None


async def _post_anew(connection: AsyncConnection, now: int, job: Job) -> Job:
    await connection.execute(
        update(media_store_sync_status)
        .where(media_store_sync_status.c.job_id == job.job_id)
        .values(
            sync_status="pending",
            sync_completed_at=None,
            sync_error=None,
            retry_count=0,
            next_retry_at=now,
        )
    )
    well = _update(job.job_id).values(
        status=JobState.COMPLETED.value, error_code=None, error_message=None
    )
    await connection.execute(well)
    return replace(job, state=JobState.COMPLETED, failure=None)


async def _enqueue_anew(connection: AsyncConnection, now: int, job: Job) -> Job:
    if job.asked.media_store_id and await is_active(connection, job.asked):
        raise duplicate(job.asked)
    await connection.execute(delete(callbacks).where(callbacks.c.job_id == job.job_id))
    start = None if await _is_batch_open(connection, job) else now
    reset = _update(job.job_id).values(
        status=JobState.PENDING.value,
        started_at=None,
        completed_at=None,
        retry_count=0,
        error_code=None,
        error_message=None,
        progress=None,
    )
    again = await _read(connection, reset.returning(*jobs.c))
    await run_for(connection, enqueue, [{"about": job.job_id, "start": start}], now=now)
    return again or job


async def _is_batch_open(connection: AsyncConnection, job: Job) -> bool:
    batch_id = job.asked.batch_id
    is_open = (batches.c.batch_id == batch_id) & batches.c.closed_at.is_(None)
    return bool(await connection.scalar(select(batches.c.batch_id).where(is_open)))


def _update(job_id: JobId) -> Update:
    return update(jobs).where(jobs.c.job_id == job_id)
