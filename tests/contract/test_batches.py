"""What every BatchStore promises."""

from datetime import timedelta

import pytest

from omma.domain.errors import BatchNotFound
from omma.domain.jobs import Completed, JobState
from omma.stores.records.database import from_ms
from tests.job_records import claim, kinds, submit


async def opened(records, *job_ids, **more):
    await records.batches.open("b1", "ada", "face_detection")
    await submit(records, *job_ids, batch_id="b1", **more)


async def test_jobs_of_an_open_batch_wait(records):
    await opened(records, "j1", "j2", priority=10)
    await submit(records, "alone")

    assert [hold.job_id for hold in await claim(records, limit=9)] == ["alone"]


async def test_closing_lets_all_of_them_go(records):
    await opened(records, "j1", "j2")
    await submit(records, "alone")

    await records.batches.close("b1")

    assert [hold.job_id for hold in await claim(records, limit=9)] == ["j1", "j2", "alone"]


async def test_closing_keeps_later_starts(records):
    await opened(records, "j1", not_before=from_ms(records.now_ms) + timedelta(seconds=10))

    await records.batches.close("b1")

    assert await claim(records) == []
    records.advance(10)
    assert len(await claim(records)) == 1


async def test_closing_twice_does_no_harm(records):
    await opened(records, "j1")
    await records.batches.close("b1")

    await records.batches.close("b1")

    assert len(await claim(records, limit=9)) == 1


async def test_a_batch_that_nobody_opened_cannot_be_closed(records):
    with pytest.raises(BatchNotFound):
        await records.batches.close("none")


async def test_a_batch_counts_its_jobs_by_state(records):
    await opened(records, "j1", "j2", "j3")
    await records.batches.close("b1")
    first, _ = await claim(records, limit=2)
    await records.queue.settle([Completed(first, {})])

    batch = await records.batches.get("b1")

    assert (batch.batch_id, batch.owner, batch.operation) == ("b1", "ada", "face_detection")
    assert batch.created_at == from_ms(records.now_ms)
    assert batch.total == 3
    assert batch.by_state == {
        JobState.COMPLETED: 1,
        JobState.PROCESSING: 1,
        JobState.PENDING: 1,
    }


async def test_an_empty_batch_is_there_and_an_unknown_one_is_none(records):
    await opened(records)

    assert (await records.batches.get("b1")).total == 0
    assert await records.batches.get("none") is None


async def test_cancelling_ends_all_that_has_not_ended(records):
    await opened(records, "j1", "j2", "j3")
    await submit(records, "alone")
    await records.batches.close("b1")
    first, second = await claim(records, limit=2)
    await records.queue.settle([Completed(first, {})])

    assert await records.batches.cancel("b1") == 2

    assert await records.queue.renew([second], lease_s=30) == {second}
    assert (await records.batches.get("b1")).by_state == {
        JobState.COMPLETED: 1,
        JobState.CANCELLED: 2,
    }
    assert [hold.job_id for hold in await claim(records, limit=9)] == ["alone"]
    assert await records.batches.cancel("b1") == 0
    assert await records.batches.cancel("none") == 0


async def test_abandoning_removes_an_open_batch_and_its_jobs(records):
    await opened(records, "j1", "j2")
    await submit(records, "alone")

    await records.batches.abandon("b1")

    assert await records.batches.get("b1") is None
    assert await records.store.get("j1") is None
    assert (await records.store.counts()).queued == 1
    assert len(await records.sweeps.due(limit=10)) == 6
    assert (await kinds(records))[-4:] == ["job_cancelled", "job_deleted"] * 2


async def test_a_closed_batch_cannot_be_abandoned(records):
    await opened(records, "j1")
    await records.batches.close("b1")

    await records.batches.abandon("b1")
    await records.batches.abandon("none")

    assert (await records.batches.get("b1")).total == 1


async def test_batches_left_open_become_stale(records):
    await records.batches.open("b1", "ada", "face_detection")
    await records.batches.open("b2", "ada", "face_detection")
    await records.batches.close("b2")
    records.advance(100)
    await records.batches.open("b3", "ada", "face_detection")

    assert await records.batches.stale(60) == ["b1"]
    assert await records.batches.stale(3600) == []


async def test_a_batch_whose_items_still_come_is_not_stale(records):
    await opened(records, "j1")
    records.advance(100)
    await submit(records, "j2", batch_id="b1")
    records.advance(50)

    assert await records.batches.stale(60) == []
    assert await records.batches.stale(40) == ["b1"]


async def test_a_job_retried_in_an_open_batch_waits_for_its_close(records):
    await opened(records, "j1")
    await records.control.cancel("j1")

    await records.control.retry("j1")

    assert await claim(records) == []
    await records.batches.close("b1")
    assert len(await claim(records)) == 1
