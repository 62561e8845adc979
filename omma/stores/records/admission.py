"""Which submissions become jobs: one after the other, as if each had come alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Select, String, bindparam, exists, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert

from omma.domain.errors import (
    BatchNotFound,
    DuplicateJob,
    IdempotencyConflict,
    InvalidInput,
    OmmaError,
    QuotaExceeded,
)
from omma.domain.events import EventKind
from omma.domain.jobs import Job, JobState, Submission, upload_folder
from omma.stores.records import leaving
from omma.stores.records.database import from_ms, to_ms
from omma.stores.records.events import append_events, new_event
from omma.stores.records.rows import (
    SUBMITTED,
    as_recorded,
    is_recordable,
    is_same_request,
    to_job,
    to_row,
)
from omma.stores.records.sets import given_rows, given_texts, run_for
from omma.stores.records.tables import batches, jobs, queue

# As the partial index has it: SQLite uses it for these very words alone.
IS_ACTIVE = text("jobs.media_store_id <> '' AND jobs.status IN ('pending', 'processing')")


@dataclass(slots=True)
class Books:
    """What the records hold already of that which the submissions speak of."""

    quota: int
    open_batches: dict[str, bool] = field(default_factory=dict[str, bool])
    by_key: dict[tuple[str, str], Job] = field(default_factory=dict[tuple[str, str], Job])
    active: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    waiting: Counter[str] = field(default_factory=Counter[str])
    new: list[Job] = field(default_factory=list[Job])

    def outcome(self, asked: Submission, now: int) -> Job | OmmaError:
        """The job that it becomes, or is already, or why it is none."""
        key = (asked.owner, asked.idempotency_key)
        if reason := self._refusal(asked):
            return reason
        if asked.idempotency_key and (known := self.by_key.get(key)):
            return _repeated(asked, known)
        if asked.media_store_id and (asked.media_store_id, asked.operation) in self.active:
            return duplicate(asked)
        if self.waiting[asked.owner] >= self.quota:
            return QuotaExceeded(f"expected at most {self.quota} waiting jobs of one owner")
        job = Job(as_recorded(asked), JobState.PENDING, from_ms(now))
        self.by_key[key] = job
        self.active.add((asked.media_store_id, asked.operation))
        self.waiting[asked.owner] += 1
        self.new.append(job)
        return job

    def available_at(self, job: Job, now: int) -> int | None:
        """From when it may be claimed; not yet known while its batch is open."""
        if self.open_batches.get(job.asked.batch_id):
            return None
        return max(now, to_ms(job.asked.not_before) if job.asked.not_before else 0)

    def _refusal(self, asked: Submission) -> OmmaError | None:
        if not is_recordable(asked):
            return InvalidInput("expected texts without NUL and without halves of characters")
        if asked.batch_id and asked.batch_id not in self.open_batches:
            return BatchNotFound(asked.batch_id)
        return None


async def admit(
    connection: AsyncConnection, now: int, submissions: Sequence[Submission], quota: int
) -> list[Job | OmmaError]:
    """Record and enqueue those that become jobs; one outcome for each."""
    sound = [asked for asked in submissions if is_recordable(asked)]
    books = await _read_books(connection, sound, quota)
    outcomes = [books.outcome(asked, now) for asked in submissions]
    await run_for(connection, _insert_jobs, [to_row(job.asked, now) for job in books.new])
    queued = [{"about": j.job_id, "start": books.available_at(j, now)} for j in books.new]
    await run_for(connection, enqueue, queued, now=now)
    uploads = [upload_folder(job.job_id) for job in books.new if _has_uploads(job)]
    await run_for(connection, leaving.forget_folders, uploads)
    happened = [new_event(EventKind.SUBMITTED, job) for job in books.new]
    await append_events(connection, now, happened)
    return outcomes


async def is_active(connection: AsyncConnection, asked: Submission) -> bool:
    """Whether a job for the same media and operation waits or runs."""
    return bool(await run_for(connection, _active, _media([asked])))


def duplicate(asked: Submission) -> DuplicateJob:
    """Why there is no second job for the same media."""
    return DuplicateJob(
        f"a job of {asked.operation!r} for {asked.media_store_id!r} waits or runs already"
    )


async def _read_books(
    connection: AsyncConnection, submissions: Sequence[Submission], quota: int
) -> Books:
    books = Books(quota)
    named = sorted({asked.batch_id for asked in submissions if asked.batch_id})
    found = await run_for(connection, _batches, named)
    books.open_batches = {row.batch_id: row.closed_at is None for row in found}
    keys = [
        {"who": asked.owner, "key": asked.idempotency_key}
        for asked in submissions
        if asked.idempotency_key
    ]
    known = [to_job(row) for row in await run_for(connection, _keyed, keys)]
    books.by_key = {(job.asked.owner, job.asked.idempotency_key): job for job in known}
    media = await run_for(connection, _active, _media(submissions))
    books.active = {(row.media, row.what) for row in media}
    books.waiting = await _count_waiting(connection, submissions, quota)
    return books


async def _count_waiting(
    connection: AsyncConnection, submissions: Sequence[Submission], quota: int
) -> Counter[str]:
    """Of owners far from the quota the running ones count too: an index alone tells those."""
    more = Counter(asked.owner for asked in submissions)
    rows = await run_for(connection, _queued, sorted(more))
    counts = {row.created_by: row.number for row in rows}
    close = sorted(owner for owner in more if counts.get(owner, 0) + more[owner] > quota)
    exact = {row.created_by: row.number for row in await run_for(connection, _waiting, close)}
    return Counter({**counts, **dict.fromkeys(close, 0), **exact})


def _media(submissions: Sequence[Submission]) -> list[dict[str, str]]:
    return [
        {"media": asked.media_store_id, "what": asked.operation}
        for asked in submissions
        if asked.media_store_id
    ]


def _repeated(asked: Submission, known: Job) -> Job | IdempotencyConflict:
    if is_same_request(asked, known.asked):
        return known
    return IdempotencyConflict(f"the key {asked.idempotency_key!r} was used for another request")


def _has_uploads(job: Job) -> bool:
    return any(ref.blob for ref in job.asked.images)


@cache
def _batches(*, is_sqlite: bool) -> Select[*tuple[Any, ...]]:
    return select(batches).where(batches.c.batch_id.in_(given_texts(is_sqlite=is_sqlite)))


@cache
def _keyed(*, is_sqlite: bool) -> Select[*tuple[Any, ...]]:
    given = given_rows(is_sqlite=is_sqlite, who=String(), key=String())
    is_known = (jobs.c.created_by == given.c.who) & (jobs.c.idempotency_key == given.c.key)
    return select(jobs).join_from(given, jobs, is_known)


@cache
def _active(*, is_sqlite: bool) -> Select[*tuple[Any, ...]]:
    given = given_rows(is_sqlite=is_sqlite, media=String(), what=String())
    is_same = (jobs.c.media_store_id == given.c.media) & (jobs.c.task_type == given.c.what)
    # EXISTS, lest SQLite begins with the index of states and reads every job that waits
    return select(given).where(exists().where(is_same, IS_ACTIVE))


@cache
def _queued(*, is_sqlite: bool) -> Select[*tuple[Any, ...]]:
    owners = given_texts(is_sqlite=is_sqlite)
    return (
        select(queue.c.created_by, func.count().label("number"))
        .where(queue.c.created_by.in_(owners))
        .group_by(queue.c.created_by)
    )


@cache
def _waiting(*, is_sqlite: bool) -> Select[*tuple[Any, ...]]:
    return _queued(is_sqlite=is_sqlite).where(queue.c.dequeued_at.is_(None))


@cache
def _insert_jobs(*, is_sqlite: bool) -> Insert:
    given = given_rows(is_sqlite=is_sqlite, **SUBMITTED)
    return insert(jobs).from_select(list(SUBMITTED), select(given))


@cache
def enqueue(*, is_sqlite: bool) -> Insert:
    """Jobs, new or to be run anew, wait from their time on."""
    given = given_rows(is_sqlite=is_sqlite, about=String(), start=BigInteger())
    columns = {
        "job_id": jobs.c.job_id,
        "priority": jobs.c.priority,
        "enqueued_at": bindparam("now", type_=BigInteger),
        "task_type": jobs.c.task_type,
        "created_by": jobs.c.created_by,
        "position": jobs.c.id,
        "available_at": given.c.start,
        "attempt": jobs.c.attempt,
    }
    rows = select(*columns.values()).join_from(given, jobs, jobs.c.job_id == given.c.about)
    return insert(queue).from_select(list(columns), rows)
