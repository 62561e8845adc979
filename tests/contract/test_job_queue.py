"""What every JobQueue, and the depth that it shows, promises."""

import asyncio

import pytest

from omma.domain.events import EventKind
from omma.domain.jobs import Claim, Completed, Failed, Failure, Hold, JobState, Progress
from omma.ports.deliveries import DeliveryKind
from omma.stores.records.database import from_ms
from tests.job_records import claim, kinds, submit

BROKEN = Failure("broken", "it broke")


async def state(records, job_id="j1"):
    return (await records.store.get(job_id)).state


async def test_a_claim_is_the_job_as_it_runs_now(records):
    await submit(records, "j1")
    records.advance(5)

    [claimed] = await records.queue.claim("r1", ["face_detection"], limit=9, lease_s=30)

    job = await records.store.get("j1")
    assert claimed == Claim(job, Hold("j1", 1))
    assert (job.state, job.attempt) == (JobState.PROCESSING, 1)
    assert job.started_at == from_ms(records.now_ms)
    assert await kinds(records) == ["job_submitted", "job_started"]


async def test_jobs_are_claimed_by_priority_and_then_by_age(records):
    await submit(records, "b1", "b2")
    await submit(records, "urgent", priority=10)
    await submit(records, "c1", priority=0)
    await submit(records, "b3")

    first = await claim(records, limit=3)
    second = await claim(records, limit=3)

    assert [hold.job_id for hold in first + second] == ["urgent", "b1", "b2", "b3", "c1"]


async def test_a_runner_is_given_only_what_it_can_do(records):
    await submit(records, "j1")
    await submit(records, "j2", operation="image_embedding")

    held = await claim(records, limit=9, operations=("image_embedding", "other"))

    assert [hold.job_id for hold in held] == ["j2"]
    assert await claim(records, limit=9, operations=()) == []


async def test_nothing_is_claimed_of_an_empty_queue(records):
    assert await claim(records, limit=9) == []
    assert await records.log.last() == 0


async def test_changes_are_equal_while_there_is_nothing_to_claim(records):
    before = await records.queue.changes()

    assert await claim(records, limit=9) == []

    assert await records.queue.changes() == before


async def test_changes_tell_of_whatever_makes_a_job_wait(records):
    async def claimed():
        [hold] = await claim(records, lease_s=5)
        return hold

    async def submitted():
        await submit(records, "j1")

    async def failed():
        await records.queue.settle([Failed(await claimed(), BROKEN, delay_s=0.0)])

    async def handed_back():
        await records.queue.release([await claimed()])

    async def expired():
        await claimed()
        records.advance(6)
        await records.queue.expire(limit=9)
        records.advance(60)

    async def cancelled_and_retried():
        await records.control.cancel("j1")
        await records.control.retry("j1")

    seen = [await records.queue.changes()]
    for happens in (submitted, failed, handed_back, expired, cancelled_and_retried):
        await happens()
        seen.append(await records.queue.changes())

    assert len(set(seen)) == 6
    assert await claimed()


async def test_no_two_runners_get_one_job(records):
    await submit(records, *(f"j{number}" for number in range(60)))

    held = await asyncio.gather(
        *(claim(records, limit=7, runner=f"r{number}") for number in range(10))
    )

    taken = [hold.job_id for holds in held for hold in holds]
    assert len(taken) == len(set(taken)) == 60


async def test_depth_counts_what_could_be_claimed_now(records):
    await records.batches.open("b1", "ada", "face_detection")
    await submit(records, "j1", "j2")
    await submit(records, "closed in", batch_id="b1")
    [hold] = await claim(records)
    await records.queue.settle([Failed(hold, BROKEN, 10)])

    before = await records.queue.depth()
    records.advance(10)

    assert (before, await records.queue.depth()) == (1, 2)


async def test_a_result_ends_its_job(records):
    await submit(records, "j1", max_retries=2)
    [hold] = await claim(records)
    records.advance(3)

    refused = await records.queue.settle([Completed(hold, {"faces": [1.5]}, {"faces": 1})])

    assert refused == set()
    job = await records.store.get("j1")
    assert (job.state, job.result, job.metrics) == (
        JobState.COMPLETED,
        {"faces": [1.5]},
        {"faces": 1},
    )
    assert job.completed_at == from_ms(records.now_ms)
    assert job.failure is None
    [*_, event] = await records.log.after(0, limit=10)
    assert event.data == {
        "operation": "face_detection",
        "state": "completed",
        "attempt": 1,
        "metrics": {"faces": 1},
    }


async def test_a_failure_is_tried_again_after_its_delay_at_its_own_priority_and_age(records):
    await submit(records, "j1", "j2", priority=7)
    [hold] = await claim(records)

    await records.queue.settle([Failed(hold, BROKEN, 10)])

    job = await records.store.get("j1")
    assert (job.state, job.retry_count, job.failure) == (JobState.PENDING, 1, None)
    await submit(records, "urgent", priority=8)
    await submit(records, "j3", priority=7)
    records.advance(10)
    again = await claim(records, limit=9)
    assert [held.job_id for held in again] == ["urgent", "j1", "j2", "j3"]
    assert again[1].attempt == 2


async def test_a_failure_waits_for_its_delay(records):
    await submit(records, "j1")
    [hold] = await claim(records)
    await records.queue.settle([Failed(hold, BROKEN, 10)])

    records.advance(9.9)

    assert await claim(records) == []


async def test_the_last_failure_ends_the_job_with_its_cause(records):
    await submit(records, "j1", max_retries=1)
    for _ in range(2):
        [hold] = await claim(records)
        await records.queue.settle([Failed(hold, BROKEN, 0)])

    job = await records.store.get("j1")

    assert (job.state, job.failure, job.retry_count) == (JobState.ERROR, BROKEN, 1)
    assert job.completed_at == from_ms(records.now_ms)
    assert await kinds(records) == [
        "job_submitted",
        "job_started",
        "job_retrying",
        "job_started",
        "job_failed",
    ]
    [*_, event] = await records.log.after(0, limit=10)
    assert event.data["failure"] == {"code": "broken", "message": "it broke"}


async def test_a_failure_that_does_not_count_costs_no_retry(records):
    await submit(records, "j1", max_retries=0)
    await submit(records, "j2")
    [hold] = await claim(records)
    await records.queue.report([(hold, Progress(1, 2))])

    refused = await records.queue.settle([Failed(hold, BROKEN, 10, counts=False)])

    job = await records.store.get("j1")
    assert refused == set()
    assert (job.state, job.retry_count, job.failure) == (JobState.PENDING, 0, None)
    assert job.progress is None
    [*_, event] = await records.log.after(0, limit=10)
    assert event.kind is EventKind.RETRYING
    assert event.data["failure"] == {"code": "broken", "message": "it broke"}


async def test_what_failed_without_counting_waits_for_its_delay_at_its_own_age(records):
    await submit(records, "j1", "j2")
    [hold] = await claim(records)
    await records.queue.settle([Failed(hold, BROKEN, 10, counts=False)])

    records.advance(9.9)
    early = await claim(records, limit=1)
    await records.queue.release(early)
    records.advance(0.1)
    late = await claim(records, limit=2)

    assert [held.job_id for held in early] == ["j2"]
    assert [held.job_id for held in late] == ["j1", "j2"]


async def test_a_failure_that_does_not_count_may_be_the_last(records):
    await submit(records, "j1")
    [hold] = await claim(records)

    await records.queue.settle([Failed(hold, BROKEN, None, counts=False)])

    job = await records.store.get("j1")
    assert (job.state, job.failure, job.retry_count) == (JobState.ERROR, BROKEN, 0)


async def test_a_failure_that_does_not_count_may_be_told_twice(records):
    await submit(records, "j1")
    [hold] = await claim(records)
    failed = Failed(hold, BROKEN, 0, counts=False)
    await records.queue.settle([failed])

    assert await records.queue.settle([failed]) == set()
    assert await kinds(records) == ["job_submitted", "job_started", "job_retrying"]


async def test_a_job_has_started_when_it_first_did(records):
    await submit(records, "j1", max_retries=9)
    first = from_ms(records.now_ms)
    [hold] = await claim(records)
    for outcome in (Failed(hold, BROKEN, 1), Failed(Hold("j1", 2), BROKEN, 1, counts=False)):
        await records.queue.settle([outcome])
        records.advance(1)
        await claim(records)
    await records.queue.release([Hold("j1", 3)])
    await claim(records)
    records.advance(60)
    await records.queue.settle([Completed(Hold("j1", 4), {})])

    assert (await records.store.get("j1")).started_at == first


async def test_a_failure_that_no_retry_would_help_ends_the_job_at_once(records):
    await submit(records, "j1", max_retries=5)
    [hold] = await claim(records)

    await records.queue.settle([Failed(hold, BROKEN, None)])

    assert await state(records) is JobState.ERROR


async def test_a_message_that_no_database_keeps_is_kept_without_its_odd_parts(records):
    await submit(records, "j1")
    [hold] = await claim(records)

    await records.queue.settle([Failed(hold, Failure("broken", "a\0b\ud800"), None)])

    assert (await records.store.get("j1")).failure == Failure("broken", "a?b?")


@pytest.mark.parametrize(
    "outcome",
    [
        lambda hold: Completed(hold, {"faces": []}),
        lambda hold: Failed(hold, BROKEN, 10),
        lambda hold: Failed(hold, BROKEN, None),
    ],
    ids=["completed", "failed", "failed-for-good"],
)
async def test_repeating_a_settlement_changes_nothing_and_refuses_nothing(records, outcome):
    await submit(records, "j1")
    [hold] = await claim(records)
    await records.queue.settle([outcome(hold)])
    before = (await records.store.get("j1"), await records.log.last())

    refused = await records.queue.settle([outcome(hold), outcome(hold)])

    assert refused == set()
    assert (await records.store.get("j1"), await records.log.last()) == before


async def test_one_hold_settled_twice_in_a_call_is_settled_once(records):
    await submit(records, "j1")
    [hold] = await claim(records)

    refused = await records.queue.settle([Completed(hold, {"n": 1}), Completed(hold, {"n": 1})])

    assert refused == set()
    assert await kinds(records) == ["job_submitted", "job_started", "job_completed"]


async def test_another_outcome_of_a_settled_hold_is_refused(records):
    await submit(records, "j1", "j2")
    first, second = await claim(records, limit=2)
    await records.queue.settle([Completed(first, {})])

    refused = await records.queue.settle(
        [Failed(first, BROKEN, None), Completed(second, {}), Failed(second, BROKEN, None)]
    )

    assert refused == {first, second}
    assert await state(records, "j1") is JobState.COMPLETED
    assert await state(records, "j2") is JobState.COMPLETED


async def test_a_hold_that_was_never_given_is_void(records):
    await submit(records, "j1")
    imagined = [Hold("j1", 0), Hold("j1", 1), Hold("nobody", 1)]

    assert await records.queue.settle([Completed(hold, {}) for hold in imagined]) == set(imagined)
    assert await records.queue.renew(imagined, lease_s=30) == set(imagined)
    await records.queue.release(imagined)
    await records.queue.report([(hold, Progress(1, 2)) for hold in imagined])
    assert await state(records) is JobState.PENDING
    assert await kinds(records) == ["job_submitted"]


async def test_many_outcomes_of_all_kinds_are_settled_in_one_call(records):
    await submit(records, *(f"j{number}" for number in range(6)))
    held = await claim(records, limit=6)
    outcomes = [
        Completed(held[0], {"n": 0}),
        Failed(held[1], BROKEN, 5),
        Failed(held[2], BROKEN, None),
        Completed(held[3], {"n": 3}),
        Completed(Hold("nobody", 1), {}),
    ]

    refused = await records.queue.settle(outcomes)

    assert refused == {Hold("nobody", 1)}
    states = [await state(records, f"j{number}") for number in range(6)]
    assert states == ["completed", "pending", "error", "completed", "processing", "processing"]
    assert (await records.store.get("j3")).result == {"n": 3}


async def test_a_job_whose_runner_went_silent_is_given_to_another(records):
    await submit(records, "j1")
    [old] = await claim(records, lease_s=30)
    await records.sweeps.intend(["attempts/j1/1"], due_in_s=3600)
    records.advance(30.001)

    expired = await records.queue.expire(limit=10)

    records.advance(1)
    [new] = await claim(records, runner="r2")
    assert expired == 1
    assert new == Hold("j1", 2)
    assert await records.queue.renew([old, new], lease_s=30) == {old}
    assert await records.queue.settle([Completed(old, {})]) == {old}
    assert (await records.store.get("j1")).retry_count == 1
    assert await records.sweeps.due(limit=10) == ["attempts/j1/1"]


async def test_a_runner_that_is_always_lost_ends_its_job(records):
    await submit(records, "j1", max_retries=0)
    await claim(records, lease_s=30)
    records.advance(31)

    await records.queue.expire(limit=10)

    job = await records.store.get("j1")
    assert (job.state, job.failure.code) == (JobState.ERROR, "lease_expired")


async def test_leases_that_are_renewed_do_not_end(records):
    await submit(records, "j1", "j2")
    first, second = await claim(records, limit=2, lease_s=30)
    records.advance(20)

    assert await records.queue.renew([first], lease_s=30) == set()

    records.advance(20)
    assert await records.queue.expire(limit=10) == 1
    assert await records.queue.renew([first, second], lease_s=30) == {second}


async def test_no_more_leases_expire_at_once_than_asked_for(records):
    await submit(records, "j1", "j2", "j3")
    await claim(records, limit=3)
    records.advance(31)

    assert [await records.queue.expire(limit=2) for _ in range(3)] == [2, 1, 0]


async def test_a_released_job_waits_as_before(records):
    await submit(records, "j1", "j2")
    [hold] = await claim(records)
    await records.queue.report([(hold, Progress(1, 2))])

    await records.queue.release([hold])

    job = await records.store.get("j1")
    assert (job.state, job.retry_count, job.progress) == (JobState.PENDING, 0, None)
    assert await records.queue.settle([Completed(hold, {})]) == {hold}
    assert [held.job_id for held in await claim(records, limit=2)] == ["j1", "j2"]
    assert await kinds(records, "j1") == [
        "job_submitted",
        "job_started",
        "job_progress",
        "job_retrying",
        "job_started",
    ]


async def test_progress_is_recorded_and_told(records):
    await submit(records, "j1", "j2")
    first, second = await claim(records, limit=2)

    await records.queue.report(
        [(first, Progress(1, 4)), (second, Progress(1, 1)), (first, Progress(2, 4, "half"))]
    )

    assert (await records.store.get("j1")).progress == Progress(2, 4, "half")
    told = await records.log.after(0, limit=10, job_id="j1")
    assert [event.data["progress"]["current"] for event in told[2:]] == [1, 2]
    assert told[3].data["progress"] == {"current": 2, "total": 4, "message": "half"}


async def test_files_of_a_result_are_no_longer_swept_but_moved(records):
    await submit(records, "j1", "j2")
    first, second = await claim(records, limit=2)
    await records.sweeps.intend(["attempts/j1/1", "attempts/j2/1"], due_in_s=0)

    await records.queue.settle([Completed(first, {}, has_files=True), Completed(second, {})])

    assert await records.sweeps.due(limit=10) == ["attempts/j2/1"]
    assert await records.sweeps.unmoved(limit=10) == [("j1", 1)]


async def test_a_callback_is_due_for_each_end_of_a_job_that_asked_for_one(records):
    await submit(records, "j1", "j2", callback_url="https://caller/")
    await submit(records, "quiet")
    first, second, quiet = await claim(records, limit=3)

    await records.queue.settle(
        [Completed(first, {}), Failed(second, BROKEN, None), Completed(quiet, {})]
    )

    due = await records.deliveries.due(limit=10, lease_s=30)
    assert {(delivery.job.job_id, delivery.kind) for delivery in due} == {
        ("j1", DeliveryKind.CALLBACK),
        ("j2", DeliveryKind.CALLBACK),
    }


async def test_no_callback_is_due_while_a_job_is_retried(told_records):
    await submit(told_records, "j1")
    [hold] = await claim(told_records)

    await told_records.queue.settle([Failed(hold, BROKEN, 10)])

    assert await told_records.deliveries.due(limit=10, lease_s=30) == []


async def test_the_media_store_is_told_results_of_its_own_media(told_records):
    await submit(told_records, "j1", media_store_id="7")
    await submit(told_records, "j2", media_store_id="8")
    await submit(told_records, "j3")
    first, second, third = await claim(told_records, limit=3)

    await told_records.queue.settle(
        [Completed(first, {}), Failed(second, BROKEN, None), Completed(third, {})]
    )

    due = await told_records.deliveries.due(limit=10, lease_s=30)
    posts = [d.job.job_id for d in due if d.kind is DeliveryKind.MEDIA_STORE]
    calls = {d.job.job_id for d in due if d.kind is DeliveryKind.CALLBACK}
    assert posts == ["j1"]
    assert calls == {"j1", "j2", "j3"}


async def test_empty_calls_do_nothing(records):
    assert await records.queue.settle([]) == set()
    assert await records.queue.renew([], lease_s=30) == set()
    assert await records.queue.expire(limit=10) == 0
    await records.queue.report([])
    await records.queue.release([])
    assert await records.log.last() == 0


async def test_runners_clients_and_chores_may_all_write_at_once(records):
    """No deadlock, whatever order they name the jobs in."""
    names = [f"j{number}" for number in range(40)]
    await records.batches.open("b1", "ada", "face_detection")
    await submit(records, *names, batch_id="b1", max_retries=99)
    await records.batches.close("b1")

    async def run(runner):
        for turn in range(6):
            held = await claim(records, limit=9, runner=runner)
            mixed = held[::-1] if turn % 2 else held
            await records.queue.renew(mixed, lease_s=30)
            await records.queue.settle([Failed(hold, BROKEN, 0) for hold in mixed[::2]])
            await records.queue.release(mixed[1::2])

    async def meddle():
        for name in names[::-4]:
            await records.control.cancel(name)
            await records.control.retry(name)
        await records.batches.cancel("b1")
        await records.control.delete(names[0], limit=1)

    await asyncio.gather(run("r1"), run("r2"), run("r3"), meddle())

    assert (await records.batches.get("b1")).total == 39
