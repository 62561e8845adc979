"""What the record of folders promises: nothing is removed too early, and nothing is forgotten."""

import pytest
from sqlalchemy import insert, select, text, update

from omma.domain.jobs import Hold, ImageRef, JobId, Submission, attempt_folder
from omma.stores.records.rows import to_row
from omma.stores.records.sweeps import UNMOVED, SqlSweeps
from omma.stores.records.tables import jobs, queue

ASKED = Submission(JobId("a"), "face_detection", (ImageRef(url="http://x/"),), "anna")


async def test_a_folder_is_due_when_its_time_has_come_and_not_before(ports):
    await ports.sweeps.intend(["uploads/a"], due_in_s=60)
    before = await ports.sweeps.due(limit=10)

    ports.advance(60)

    assert (before, await ports.sweeps.due(limit=10)) == ([], ["uploads/a"])


async def test_a_settled_folder_is_never_due(ports):
    await ports.sweeps.intend(["uploads/a", "uploads/b", "uploads/c"], due_in_s=60)

    await ports.sweeps.settled(["uploads/a", "uploads/b"])

    ports.advance(61)
    assert await ports.sweeps.due(limit=10) == ["uploads/c"]


async def test_nothing_settled_and_nothing_intended_is_no_mistake(ports):
    await ports.sweeps.settled([])
    await ports.sweeps.intend([], due_in_s=1)

    ports.advance(2)
    assert await ports.sweeps.due(limit=10) == []


async def test_the_longest_due_come_first_and_no_more_than_asked_for(ports):
    for number in (3, 1, 2):
        await ports.sweeps.intend([f"uploads/{number}"], due_in_s=number)

    ports.advance(3)

    assert await ports.sweeps.due(limit=2) == ["uploads/1", "uploads/2"]


async def test_a_folder_intended_anew_is_due_anew(ports):
    await ports.sweeps.intend(["uploads/a"], due_in_s=10)

    await ports.sweeps.intend(["uploads/a"], due_in_s=100)

    ports.advance(11)
    assert await ports.sweeps.due(limit=10) == []


async def test_a_swept_folder_is_looked_at_once_more_an_hour_later(ports):
    await ports.sweeps.intend(["uploads/a"], due_in_s=0)

    await ports.sweeps.swept("uploads/a")

    at_once = await ports.sweeps.due(limit=10)
    ports.advance(3600)
    assert (at_once, await ports.sweeps.due(limit=10)) == ([], ["uploads/a"])


async def test_a_folder_swept_twice_is_forgotten(ports):
    await ports.sweeps.intend(["uploads/a"], due_in_s=0)

    await ports.sweeps.swept("uploads/a")
    await ports.sweeps.swept("uploads/a")

    ports.advance(100_000)
    assert await ports.sweeps.due(limit=10) == []


async def test_to_sweep_what_was_settled_meanwhile_is_no_mistake(ports):
    await ports.sweeps.swept("uploads/a")

    ports.advance(100_000)
    assert await ports.sweeps.due(limit=10) == []


@pytest.fixture
async def job(timed_database):
    """A job that runs its second attempt."""
    row = {**to_row(ASKED, 0), "status": "processing", "attempt": 2}
    waits = {"priority": 5, "enqueued_at": 0, "task_type": "x", "created_by": "anna", "position": 1}
    runs = {**waits, "job_id": "a", "attempt": 2, "dequeued_at": 0, "available_at": 0}
    async with timed_database.write() as connection:
        await connection.execute(insert(jobs).values(row))
        await connection.execute(insert(queue).values(runs))
    return ASKED.job_id


async def change(database, **values):
    async with database.write() as connection:
        await connection.execute(update(jobs).values(**values))


async def test_a_folder_of_an_attempt_that_runs_is_not_due_however_long_it_takes(
    job, timed_database, clock
):
    sweeps = SqlSweeps(timed_database)
    earlier = attempt_folder(Hold(job, 1))
    await sweeps.intend([attempt_folder(Hold(job, 2)), earlier], due_in_s=60)

    clock.advance(61)

    assert await sweeps.due(limit=10) == [earlier]


async def test_files_of_a_completed_job_are_unmoved_until_they_have_moved(job, timed_database):
    sweeps = SqlSweeps(timed_database)
    before = await sweeps.unmoved(limit=10)
    await change(timed_database, status="completed", has_files=True)
    completed = await sweeps.unmoved(limit=10)

    await sweeps.moved(job, 2)

    assert (before, completed) == ([], [(job, 2)])
    assert await sweeps.unmoved(limit=10) == []


async def test_only_the_attempt_that_completed_can_have_moved_its_files(job, timed_database):
    sweeps = SqlSweeps(timed_database)
    await change(timed_database, status="completed", has_files=True)

    await sweeps.moved(job, 1)

    assert await sweeps.unmoved(limit=10) == [(job, 2)]


async def test_a_million_moved_jobs_do_not_slow_the_search_for_others(sqlite_database):
    wanted = select(jobs.c.job_id).where(UNMOVED).order_by(jobs.c.id).limit(10)
    plan = text(f"EXPLAIN QUERY PLAN {wanted.compile(compile_kwargs={'literal_binds': True})}")

    async with sqlite_database.read() as connection:
        steps = [row.detail for row in await connection.execute(plan)]

    assert any("ix_jobs_unmoved" in step for step in steps)
