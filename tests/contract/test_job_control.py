"""What every JobControl promises."""

import pytest

from omma.domain.errors import DuplicateJob, JobStateConflict
from omma.domain.jobs import Completed, Failed, Failure, JobFilter, JobState, Progress, Removed
from omma.ports.deliveries import Delivered, DeliveryKind
from omma.stores.records.database import from_ms
from tests.job_records import claim, kinds, submit

BROKEN = Failure("broken", "it broke")


async def fail_for_good(records, hold):
    await records.queue.settle([Failed(hold, BROKEN, None)])


async def test_a_waiting_job_is_cancelled_and_never_claimed(records):
    await submit(records, "j1")

    job = await records.control.cancel("j1")

    assert job.state is JobState.CANCELLED
    assert job.completed_at == from_ms(records.now_ms)
    assert await records.store.get("j1") == job
    assert await claim(records) == []
    assert await kinds(records) == ["job_submitted", "job_cancelled"]


async def test_whatever_a_cancelled_runner_writes_is_refused(records):
    await submit(records, "j1")
    [hold] = await claim(records)
    await records.sweeps.intend(["attempts/j1/1"], due_in_s=3600)

    await records.control.cancel("j1")

    await records.queue.report([(hold, Progress(1, 2))])
    assert await records.queue.renew([hold], lease_s=30) == {hold}
    assert await records.queue.settle([Completed(hold, {})]) == {hold}
    job = await records.store.get("j1")
    assert (job.state, job.result, job.progress) == (JobState.CANCELLED, None, None)
    assert await records.sweeps.due(limit=10) == ["attempts/j1/1"]


async def test_cancelling_what_has_ended_changes_nothing(records):
    await submit(records, "j1")
    [hold] = await claim(records)
    await records.queue.settle([Completed(hold, {"faces": []})])

    job = await records.control.cancel("j1")

    assert job.state is JobState.COMPLETED
    assert (await kinds(records))[-1] == "job_completed"


async def test_cancelling_and_retrying_nobodys_job_is_none(records):
    assert await records.control.cancel("nobody") is None
    assert await records.control.retry("nobody") is None


async def test_nobody_is_called_about_a_cancelled_job(told_records):
    await submit(told_records, "j1")

    await told_records.control.cancel("j1")

    assert await told_records.deliveries.due(limit=10, lease_s=30) == []


async def test_a_job_in_error_starts_anew_with_all_its_retries(records):
    await submit(records, "j1", max_retries=1, priority=7)
    for _ in range(2):
        [hold] = await claim(records)
        await records.queue.settle([Failed(hold, BROKEN, 0)])

    job = await records.control.retry("j1")

    assert job.state is JobState.PENDING
    assert (job.retry_count, job.failure, job.started_at, job.completed_at) == (0, None, None, None)
    assert await records.store.get("j1") == job
    [again] = await claim(records)
    assert again.attempt == hold.attempt + 1
    assert (await kinds(records))[-2:] == ["job_retrying", "job_started"]


async def test_a_cancelled_job_starts_anew_and_its_old_runner_stays_fenced(records):
    await submit(records, "j1")
    [old] = await claim(records)
    await records.control.cancel("j1")

    await records.control.retry("j1")

    assert await records.queue.renew([old], lease_s=30) == {old}
    [new] = await claim(records)
    assert await records.queue.settle([Completed(old, {"by": "old"})]) == {old}
    assert await records.queue.settle([Completed(new, {"by": "new"})]) == set()
    assert (await records.store.get("j1")).result == {"by": "new"}


async def test_a_retried_job_keeps_its_place_by_age(records):
    await submit(records, "j1", "j2")
    await records.control.cancel("j1")

    await records.control.retry("j1")

    assert [hold.job_id for hold in await claim(records, limit=2)] == ["j1", "j2"]


@pytest.mark.parametrize("state", ["pending", "processing", "completed"])
async def test_other_states_do_not_allow_a_retry(records, state):
    await submit(records, "j1")
    if state != "pending":
        [hold] = await claim(records)
    if state == "completed":
        await records.queue.settle([Completed(hold, {})])

    with pytest.raises(JobStateConflict):
        await records.control.retry("j1")


async def test_a_retry_is_refused_while_another_job_of_the_same_media_is_active(records):
    await submit(records, "j1", media_store_id="7")
    await records.control.cancel("j1")
    await submit(records, "j2", media_store_id="7")

    with pytest.raises(DuplicateJob):
        await records.control.retry("j1")

    assert (await records.store.get("j1")).state is JobState.CANCELLED


async def test_a_job_that_ends_twice_is_told_of_twice(told_records):
    records = told_records
    await submit(records, "j1")
    [hold] = await claim(records)
    await fail_for_good(records, hold)
    [first] = await records.deliveries.due(limit=10, lease_s=30)
    await records.deliveries.settle([Delivered(first)])
    await records.control.retry("j1")
    [hold] = await claim(records)

    await records.queue.settle([Completed(hold, {})])

    [second] = await records.deliveries.due(limit=10, lease_s=30)
    assert second.job.state is JobState.COMPLETED
    assert second.tries == 0


async def test_a_result_that_the_media_store_did_not_take_is_posted_anew(told_records):
    records = told_records
    await submit(records, "j1", media_store_id="7")
    [hold] = await claim(records)
    await records.queue.settle([Completed(hold, {"faces": []})])
    due = await records.deliveries.due(limit=10, lease_s=30)
    posts = [delivery for delivery in due if delivery.kind is DeliveryKind.MEDIA_STORE]
    await records.deliveries.settle([Delivered(posts[0], "answered 500")])
    assert (await records.store.get("j1")).state is JobState.SYNC_FAILED

    job = await records.control.retry("j1")

    assert (job.state, job.result) == (JobState.COMPLETED, {"faces": []})
    [again] = await records.deliveries.due(limit=10, lease_s=10)
    assert (again.kind, again.tries) == (DeliveryKind.MEDIA_STORE, 0)


async def test_a_deleted_job_leaves_nothing_but_its_event_and_folders_to_sweep(records):
    await submit(records, "j1", "j2", media_store_id="")
    [hold] = await claim(records)

    removed = await records.control.delete("j1", limit=10)

    assert removed == Removed(jobs=1, queue_entries=1, job_ids=("j1",))
    assert await records.store.get("j1") is None
    assert await records.queue.renew([hold], lease_s=30) == {hold}
    assert await records.queue.settle([Completed(hold, {})]) == {hold}
    assert sorted(await records.sweeps.due(limit=10)) == ["attempts/j1", "jobs/j1", "uploads/j1"]
    ends = ["job_cancelled", "job_deleted"]
    assert await kinds(records, "j1") == ["job_submitted", "job_started", *ends]
    last = (await records.log.after(0, limit=100))[-2:]
    assert [event.data["state"] for event in last] == ["cancelled", "cancelled"]
    assert (await records.store.counts()).queued == 1


async def test_deleting_a_job_that_had_ended_cancels_nothing(records):
    await submit(records, "j1")
    [hold] = await claim(records)
    await records.queue.settle([Completed(hold, {})])

    await records.control.delete("j1", limit=1)

    assert (await kinds(records, "j1"))[-2:] == ["job_completed", "job_deleted"]


async def test_deleting_nobodys_job_removes_nothing(records):
    assert await records.control.delete("nobody", limit=10) == Removed()


async def test_deleting_takes_deliveries_along(told_records):
    await submit(told_records, "j1", media_store_id="7")
    [hold] = await claim(told_records)
    await told_records.queue.settle([Completed(hold, {})])

    await told_records.control.delete("j1", limit=1)

    assert await told_records.deliveries.due(limit=10, lease_s=30) == []


async def test_deleting_by_filter_takes_the_oldest_first_up_to_its_limit(records):
    await submit(records, "j1", "j2", "j3")
    await submit(records, "bobs", owner="bob")
    wanted = JobFilter(owner="ada", states=(JobState.PENDING,))

    first = await records.control.delete(wanted, limit=2)
    second = await records.control.delete(wanted, limit=2)

    assert (first.jobs, first.queue_entries, second.jobs) == (2, 2, 1)
    page = await records.store.page(JobFilter(), cursor="", limit=10)
    assert [job.job_id for job in page.jobs] == ["bobs"]
    assert (await kinds(records))[-6:] == ["job_cancelled", "job_deleted"] * 3


async def test_deleted_media_may_be_submitted_again(records):
    await submit(records, "j1", media_store_id="7", idempotency_key="k")
    await records.control.delete("j1", limit=1)

    await submit(records, "j2", media_store_id="7", idempotency_key="k")

    assert [hold.job_id for hold in await claim(records)] == ["j2"]
