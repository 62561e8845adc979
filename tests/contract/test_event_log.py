"""What every EventLog promises."""

import asyncio

from sqlalchemy import insert, update

from omma.domain.events import EventKind
from omma.domain.jobs import Completed
from omma.stores.records.database import from_ms
from omma.stores.records.events import SqlEventLog
from omma.stores.records.tables import event_counter, events
from tests.job_records import claim, submit
from tests.logged import logged


async def test_nothing_happened_at_first(records):
    assert await records.log.last() == 0
    assert await records.log.after(0, limit=10) == []


async def test_events_say_what_happened_to_whom_and_when(records):
    records.advance(7)
    await submit(records, "j1")

    [event] = await records.log.after(0, limit=10)

    assert (event.seq, event.kind) == (1, EventKind.SUBMITTED)
    assert (event.job_id, event.owner) == ("j1", "ada")
    assert event.at == from_ms(records.now_ms)
    assert event.data == {"operation": "face_detection", "state": "pending", "attempt": 0}


async def test_readers_go_on_where_they_stopped(records):
    await submit(records, "j1", "j2", "j3")

    first = await records.log.after(0, limit=2)
    rest = await records.log.after(first[-1].seq, limit=2)

    assert [event.job_id for event in first + rest] == ["j1", "j2", "j3"]
    assert await records.log.last() == 3


async def test_changes_are_equal_until_something_happens(records):
    seen = [await records.log.changes()]
    await records.log.after(0, limit=10)
    assert await records.log.changes() == seen[0]

    for job in ("j1", "j2"):
        await submit(records, job)
        seen.append(await records.log.changes())

    assert len(set(seen)) == 3


async def test_one_job_has_its_own_story(records):
    await submit(records, "j1", "j2")
    [hold] = await claim(records)
    await records.queue.settle([Completed(hold, {})])

    story = await records.log.after(1, limit=10, job_id="j1")

    assert [event.kind.value for event in story] == ["job_started", "job_completed"]


async def test_pruning_takes_old_events_alone_and_numbers_go_on(records):
    await submit(records, "j1", "j2", "j3")
    records.advance(100)
    await submit(records, "j4")

    pruned = [await records.log.prune(older_than_s=60, limit=2) for _ in range(3)]

    await submit(records, "j5")
    assert pruned == [2, 1, 0]
    assert [event.seq for event in await records.log.after(0, limit=10)] == [4, 5]
    assert await records.log.last() == 5


async def test_numbers_have_no_gaps_and_who_has_seen_one_has_seen_all_below(records):
    seen = []

    async def follow():
        while len(seen) < 40:
            seen.extend(await records.log.after(len(seen), limit=100))
            assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
            await asyncio.sleep(0)

    async def write(name):
        for number in range(10):
            await submit(records, f"{name}{number}")

    await asyncio.gather(follow(), *(write(name) for name in "abcd"))

    assert len({event.job_id for event in seen}) == 40


async def test_events_of_a_later_omma_are_passed_over_and_named_once(database, caplog):
    kinds = ["job_started", "job_paused", "job_paused", "job_resumed", "job_completed", "job_new"]
    log = SqlEventLog(database)
    async with database.write() as connection:
        rows = [
            {"seq": n, "kind": kind, "job_id": "a", "created_by": "ada", "at": 0, "data": "{}"}
            for n, kind in enumerate(kinds, 1)
        ]
        await connection.execute(insert(events), rows)
        await connection.execute(update(event_counter).values(seq=len(kinds)))

    assert [event.seq for event in await log.after(0, limit=2)] == [1, 5]
    assert [event.seq for event in await log.after(0, limit=9, job_id="a")] == [1, 5]
    assert [event.seq for event in await log.after(1, limit=1)] == [5]
    assert await log.after(5, limit=9) == []
    skipped = logged(caplog, "omma.stores.records.events")
    assert [record.kind for record in skipped] == ["job_paused", "job_resumed", "job_new"]
