"""What the list of deliveries promises: everybody is told, by one at a time, until it is over."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import func, select, text

from omma.domain.events import EventKind
from omma.domain.jobs import Completed, ImageRef, JobFilter, JobId, JobState, Submission
from omma.ports.deliveries import Delivered, DeliveryKind, Shares
from omma.stores.records.control import SqlJobControl
from omma.stores.records.deliveries import SqlDeliveries
from omma.stores.records.jobs import SqlJobStore
from omma.stores.records.queue import SqlJobQueue
from omma.stores.records.tables import callbacks, jobs, media_store_sync_status
from tests.databases import opened

ASKED = Submission(JobId("a"), "face_detection", (ImageRef(url="http://x/"),), "anna")
CALLED = replace(ASKED, callback_url="http://there/")
POSTED = replace(ASKED, media_store_id="7")
CALLED_AND_POSTED = replace(CALLED, media_store_id="7")


async def complete(ports, *submissions):
    """Let jobs run to their ends."""
    await ports.store.submit(submissions, quota=1000)
    claims = await ports.queue.claim("r", {"face_detection"}, limit=100, lease_s=30)
    await ports.queue.settle([Completed(claim.hold, {"faces": []}) for claim in claims])


async def due(ports, *, limit=10, lease_s=60, **shares):
    return await ports.deliveries.due(limit=limit, lease_s=lease_s, shares=Shares(**shares))


def called(*named):
    """Submissions by id, owner and callback URL."""
    return [
        replace(CALLED, job_id=JobId(name), owner=owner, callback_url=url)
        for name, owner, url in named
    ]


def names(found):
    return [each.job.job_id for each in found]


async def settle(ports, delivery, error="", delay_s=None):
    await ports.deliveries.settle([Delivered(delivery, error, delay_s)])


async def kinds_of_events(ports):
    return [event.kind for event in await ports.log.after(0, limit=100)]


async def test_an_ended_job_is_told_to_all_who_are_to_hear_of_it(ports):
    await complete(ports, CALLED_AND_POSTED)

    found = await due(ports)

    assert {each.kind for each in found} == set(DeliveryKind)
    assert {(each.job.job_id, each.job.state, each.tries) for each in found} == {
        ("a", JobState.COMPLETED, 0)
    }


async def test_what_one_took_nobody_else_gets_before_its_lease_ends(ports):
    await complete(ports, CALLED)
    taken = await due(ports, lease_s=60)
    ports.advance(59)
    meanwhile = await due(ports)

    ports.advance(1)

    assert (len(taken), meanwhile) == (1, [])
    assert await due(ports) == taken


async def test_of_many_who_ask_at_once_each_gets_others(ports):
    await complete(ports, *[replace(CALLED, job_id=JobId(f"{n:02}")) for n in range(30)])

    takings = await asyncio.gather(*[due(ports, limit=4) for _ in range(10)])

    found = [each.job.job_id for taken in takings for each in taken]
    assert all(len(taken) <= 4 for taken in takings)
    assert len(found) == len(set(found))
    assert len(found) + len(await due(ports, limit=100)) == 30


async def test_no_more_are_taken_than_asked_for(ports):
    both = [replace(CALLED_AND_POSTED, job_id=JobId(str(n)), media_store_id=str(n)) for n in "123"]
    await complete(ports, *both)

    assert [len(await due(ports, limit=4)) for _ in range(3)] == [4, 2, 0]


async def test_owners_take_turns_and_each_gets_what_is_due_first(ports):
    await complete(ports, *called(*[(f"a{n}", "anna", "http://a/") for n in range(3)]))
    ports.advance(1)
    await complete(ports, *called(("b0", "ben", "http://b/"), ("b1", "ben", "http://b/")))

    turns = [names(await due(ports, limit=2)) for _ in range(3)]

    assert [sorted(turn) for turn in turns] == [["a0", "b0"], ["a1", "b1"], ["a2"]]


async def test_no_more_than_its_share_is_taken_of_one_owner_or_origin(ports):
    of_anna = [(f"a{n}", "anna", f"http://a{n}/") for n in range(4)]
    of_one_host = [(f"h{n}", f"owner{n}", f"https://h:8443/{n}?x=/") for n in range(4)]
    await complete(ports, *called(*of_anna, *of_one_host))

    found = names(await due(ports, each=2))

    assert sorted(name[0] for name in found) == ["a", "a", "h", "h"]


async def test_who_has_its_fill_is_left_out_and_comes_later(ports):
    of_anna = [("0", "anna", "http://slow/x"), ("1", "anna", "http://slow")]
    others = [("2", "anna", "http://slower/"), ("3", "ben", "http://slower/")]
    await complete(ports, *called(*of_anna, *others))

    without = await due(ports, without_owners=["ben"], without_origins=["http://slow"])

    assert names(without) == ["2"]
    assert sorted(names(await due(ports))) == ["0", "1", "3"]


async def test_a_full_backlog_of_one_does_not_hide_another(ports, monkeypatch):
    monkeypatch.setattr("omma.stores.records.deliveries.LOOKED_AT", 3)
    await complete(ports, *called(*[(f"a{n}", "anna", "http://a/") for n in range(5)]))
    await complete(ports, *called(("b", "ben", "http://b/")))

    assert names(await due(ports, without_owners=["anna"])) == ["b"]


async def test_only_the_kind_that_is_asked_for_is_taken(ports):
    await complete(ports, CALLED_AND_POSTED)

    found = [await due(ports, kinds=[kind]) for kind in (*DeliveryKind, *DeliveryKind)]

    assert [[each.kind for each in taken] for taken in found] == [[k] for k in DeliveryKind] + [
        [],
        [],
    ]


async def test_a_success_is_the_end_of_it(ports):
    await complete(ports, CALLED_AND_POSTED)

    for delivery in await due(ports):
        await settle(ports, delivery)

    ports.advance(100_000)
    assert await due(ports) == []
    assert (await ports.store.get(JobId("a"))).state is JobState.COMPLETED


async def test_a_failure_is_tried_again_after_its_delay_and_counted(ports):
    await complete(ports, CALLED)
    [delivery] = await due(ports, lease_s=1)

    await settle(ports, delivery, "it answered 500", delay_s=30)

    ports.advance(29)
    before = await due(ports)
    ports.advance(1)
    [again] = await due(ports)
    assert (before, again.tries) == ([], 1)


async def test_a_defeated_callback_leaves_the_job_as_it_is(ports):
    await complete(ports, CALLED)
    [delivery] = await due(ports)

    await settle(ports, delivery, "it answered 500")

    ports.advance(100_000)
    assert await due(ports) == []
    assert (await ports.store.get(JobId("a"))).state is JobState.COMPLETED


async def test_a_defeated_post_makes_the_job_sync_failed_and_is_told(ports):
    await complete(ports, POSTED)
    [delivery] = await due(ports)

    await settle(ports, delivery, "it answered 500")

    job = await ports.store.get(JobId("a"))
    assert (job.state, job.failure.message) == (JobState.SYNC_FAILED, "it answered 500")
    [*_, told] = await ports.log.after(0, limit=100)
    assert (told.kind, told.owner) == (EventKind.SYNC_FAILED, "anna")
    assert told.data["state"] == "sync_failed"
    assert told.data["failure"] == {"code": "sync_failed", "message": "it answered 500"}
    assert await due(ports) == []


async def test_a_defeat_settled_twice_is_told_once(ports):
    await complete(ports, POSTED)
    [delivery] = await due(ports)

    for _ in range(2):
        await settle(ports, delivery, "it answered 500")

    assert (await kinds_of_events(ports)).count(EventKind.SYNC_FAILED) == 1


@pytest.fixture
async def sql(timed_database, clock):
    """The SQL ports alone, and both tables of deliveries."""

    class Sql:
        store = SqlJobStore(timed_database)
        queue = SqlJobQueue(timed_database, media_store=True)
        deliveries = SqlDeliveries(timed_database)
        advance = clock.advance

        async def row(self, table):
            async with timed_database.read() as connection:
                return (await connection.execute(select(table))).one()

    return Sql()


async def test_a_slow_sender_does_not_undo_what_a_later_one_settled(sql):
    await complete(sql, CALLED)
    [slow] = await due(sql, lease_s=1)
    sql.advance(1)
    [later] = await due(sql)
    await settle(sql, later, "it answered 500", delay_s=30)

    await settle(sql, slow)

    row = await sql.row(callbacks)
    assert (row.sync_status, row.retry_count, row.sync_error) == ("pending", 1, "it answered 500")


async def test_the_documented_columns_tell_what_came_of_a_post(sql, clock):
    await complete(sql, POSTED)
    [delivery] = await due(sql)
    await settle(sql, delivery, "it answered\0 500", delay_s=5)
    failed = await sql.row(media_store_sync_status)
    sql.advance(5)
    [delivery] = await due(sql)

    await settle(sql, delivery)

    ended = await sql.row(media_store_sync_status)
    assert (failed.sync_status, failed.sync_error) == ("pending", "it answered? 500")
    assert failed.next_retry_at == clock()
    assert (ended.sync_status, ended.sync_error, ended.retry_count) == ("completed", None, 2)
    assert (ended.sync_attempted_at, ended.sync_completed_at) == (clock(), clock())
    assert ended.next_retry_at is None


async def test_the_outcome_for_a_job_that_was_deleted_is_nobodys(sql, timed_database):
    await complete(sql, POSTED)
    [delivery] = await due(sql)
    async with timed_database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM jobs")
    await complete(sql, replace(POSTED, job_id=JobId("b")))  # SQLite numbers its row the same

    await settle(sql, delivery, "it answered 500")

    assert (await sql.row(media_store_sync_status)).sync_status == "pending"


@pytest.mark.parametrize("kind", DeliveryKind)
async def test_a_kind_that_nobody_sends_is_left_alone(sql, timed_database, kind):
    await complete(sql, CALLED_AND_POSTED)
    is_call = kind is DeliveryKind.CALLBACK
    sender = SqlDeliveries(timed_database, callbacks=is_call, media_store=not is_call)

    assert [each.kind for each in await sender.due(limit=10, lease_s=60)] == [kind]


async def test_many_of_one_kind_starve_none_of_the_other(sql):
    jobs = [replace(CALLED, job_id=JobId(str(n))) for n in range(4)]
    await complete(sql, *jobs, replace(POSTED, job_id=JobId("posted")))

    found = [each.kind for _ in range(2) for each in await due(sql, limit=2)]

    assert DeliveryKind.MEDIA_STORE in found


async def test_processes_that_take_side_by_side_never_take_the_same(database_url, sql):
    await complete(sql, *[replace(CALLED, job_id=JobId(f"{n:02}")) for n in range(40)])

    async def take():
        async with opened(database_url) as database:
            deliveries = SqlDeliveries(database)
            return [each for _ in range(5) for each in await deliveries.due(limit=2, lease_s=60)]

    takings = await asyncio.gather(*[take() for _ in range(4)])

    found = [each.id for taken in takings for each in taken]
    assert len(found) == len(set(found))


async def test_who_settles_deliveries_and_who_deletes_their_jobs_never_wait_for_each_other(
    postgres_url,
):
    """A third, who holds a job in the middle, keeps both of them half way."""
    async with opened(postgres_url) as database:
        deliveries, control = SqlDeliveries(database), SqlJobControl(database)
        for turn in range(5):  # which rows a plan without an order locks first is its own affair
            names = [f"{turn}.{n:02}" for n in reversed(range(40))]
            await end_all(database, [replace(CALLED, job_id=JobId(name)) for name in names])
            told = [Delivered(each) for each in await deliveries.due(limit=64, lease_s=60)]
            ended = JobFilter(states=(JobState.COMPLETED,))

            async with database.write() as connection:
                held = select(jobs.c.id).where(jobs.c.job_id == f"{turn}.20")
                await connection.execute(held.with_for_update(key_share=True))
                settling = asyncio.create_task(deliveries.settle(told))
                await waiting_for_locks(database, 1)
                deleting = asyncio.create_task(control.delete(ended, limit=500))
                await waiting_for_locks(database, 2)

            await settling
            assert (await deleting).jobs == 40


async def end_all(database, submissions):
    queue = SqlJobQueue(database)
    await SqlJobStore(database).submit(submissions, quota=1000)
    claims = await queue.claim("r", {"face_detection"}, limit=100, lease_s=30)
    await queue.settle([Completed(claim.hold, {}) for claim in claims])


async def waiting_for_locks(database, number):
    waiting = select(func.count()).select_from(text("pg_locks")).where(text("NOT granted"))
    while True:
        async with database.read() as connection:
            if await connection.scalar(waiting) >= number:
                return
