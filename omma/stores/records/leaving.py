"""What is written when jobs leave their queue or return to it: each statement for many jobs."""

from functools import cache

from sqlalchemy import (
    BigInteger,
    Boolean,
    Integer,
    String,
    Table,
    Text,
    case,
    delete,
    insert,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.sql.dml import Delete, Insert, Update

from omma.stores.records.sets import given_rows, given_texts
from omma.stores.records.tables import (
    attempts,
    callbacks,
    jobs,
    media_store_sync_status,
    queue,
    sweeps,
)


@cache
def change_jobs(*, is_sqlite: bool) -> Update:
    """What becomes of the jobs themselves."""
    given = given_rows(
        is_sqlite=is_sqlite,
        changed_id=String(),
        state=String(),
        ended_at=BigInteger(),
        retries=Integer(),
        code=String(),
        why=Text(),
        found=Text(),
        measured=Text(),
        with_files=Boolean(),
    )
    waits = given.c.ended_at.is_(None)
    return (
        update(jobs)
        .where(jobs.c.job_id == given.c.changed_id)
        .values(
            status=given.c.state,
            progress=case((waits, null()), else_=jobs.c.progress),
            completed_at=given.c.ended_at,
            retry_count=given.c.retries,
            error_code=given.c.code,
            error_message=given.c.why,
            result=given.c.found,
            metrics=given.c.measured,
            has_files=given.c.with_files,
        )
    )


@cache
def change_queue(*, is_sqlite: bool) -> Update:
    """They wait again, for anybody."""
    given = given_rows(is_sqlite=is_sqlite, changed_id=String(), at=BigInteger())
    return (
        update(queue)
        .where(queue.c.job_id == given.c.changed_id)
        .values(dequeued_at=None, worker_id=None, lease_until=None, available_at=given.c.at)
    )


@cache
def leave_queue(*, is_sqlite: bool) -> Delete:
    """They wait and run no more."""
    return delete(queue).where(queue.c.job_id.in_(given_texts(is_sqlite=is_sqlite)))


@cache
def change_attempts(*, is_sqlite: bool) -> Update:
    """How their attempts ended."""
    given = given_rows(
        is_sqlite=is_sqlite,
        held_id=String(),
        held_attempt=Integer(),
        at=BigInteger(),
        how=String(),
        code=String(),
        why=Text(),
    )
    return (
        update(attempts)
        .where(attempts.c.job_id == given.c.held_id)
        .where(attempts.c.attempt == given.c.held_attempt)
        .values(
            ended_at=given.c.at,
            outcome=given.c.how,
            error_code=given.c.code,
            error_message=given.c.why,
        )
    )


@cache
def forget_folders(*, is_sqlite: bool) -> Delete:
    """Their files are somebody's now."""
    return delete(sweeps).where(sweeps.c.folder.in_(given_texts(is_sqlite=is_sqlite)))


@cache
def sweep_folders(*, is_sqlite: bool) -> Update:
    """Their files are nobody's, if there are any."""
    given = given_rows(is_sqlite=is_sqlite, name=String(), at=BigInteger())
    return update(sweeps).where(sweeps.c.folder == given.c.name).values(due_at=given.c.at)


@cache
def call_back(*, is_sqlite: bool) -> Insert:
    """A callback is due for each."""
    return _deliver(callbacks, is_sqlite=is_sqlite)


@cache
def post_results(*, is_sqlite: bool) -> Insert:
    """A post to the media store is due for each."""
    return _deliver(media_store_sync_status, is_sqlite=is_sqlite)


def _deliver(target: Table, *, is_sqlite: bool) -> Insert:
    given = given_rows(is_sqlite=is_sqlite, about=String(), at=BigInteger())
    names = ["job_id", "sync_status", "next_retry_at"]
    rows = select(given.c.about, literal("pending"), given.c.at)
    return insert(target).from_select(names, rows)
