"""Jobs without images in the job loop: alone, without a limit of time, by their own progress."""

import asyncio

import pytest

from omma.domain.errors import (
    CallTimeout,
    IndexNotFound,
    RebuildRunning,
    ReplicaLost,
    SourceUnavailable,
)
from omma.domain.events import EventKind
from omma.domain.jobs import ImageRef, JobState, Progress
from omma.services.attempts import Attempt, Backoff
from omma.services.holds import LONE_INTERVAL_S, Holds
from tests.job_fakes import MemoryJobs
from tests.runner_fakes import Digging, Workplace, soon, submission

pytestmark = pytest.mark.timeout(120)  # a busy machine may stand still for many seconds


@pytest.fixture
def digging():
    return Digging()


@pytest.fixture
def place(digging):
    return Workplace(handlers={"digging": digging})


def hole(number, **fields):
    return submission(number, images=(), operation="digging", **fields)


async def test_it_is_completed_with_its_result_its_metrics_and_its_files(place, digging):
    digging.gate.set()
    await place.submit(hole(1, params={"depth": 5}))

    async with place.running():
        await place.all_ended()
        await soon(lambda: not place.jobs.sweeps.all.folders)

    job = place.job(1)
    assert (job.state, job.attempt) == (JobState.COMPLETED, 1)
    assert job.result == {"depth": 5, "path": f"jobs/{job.job_id}/hole.bin"}
    assert job.metrics == {"metres": 5}
    assert place.files.held == {f"jobs/{job.job_id}/hole.bin": b"earth"}


async def test_jobs_of_equal_parameters_share_no_call(place, digging):
    digging.gate.set()
    await place.submit(hole(1), hole(2))

    async with place.running():
        await place.all_ended()

    assert {job.job_id for job in digging.begun} == {hole(1).job_id, hole(2).job_id}


async def test_no_limit_of_calls_ends_it(place, digging):
    await place.submit(hole(1))

    async with place.running(call_timeout_s=0.01):
        await soon(lambda: digging.begun)
        await asyncio.sleep(0.05)
        running = place.job(1).state
        digging.gate.set()
        await place.all_ended()

    assert running is JobState.PROCESSING
    assert place.job(1).state is JobState.COMPLETED


async def test_other_jobs_go_on_beside_it_in_the_smallest_window(place, digging):
    await place.submit(hole(1, priority=10), *(submission(n) for n in range(2, 40)))

    async with place.running(window=1, chunk=1):
        await soon(lambda: all(place.job(n).state.has_ended for n in range(2, 40)))
        running = place.job(1).state
        digging.gate.set()
        await place.all_ended()

    assert running is JobState.PROCESSING


async def test_it_ends_while_images_are_still_in_work(place, digging):
    place.reading.gate = asyncio.Event()
    await place.submit(submission(1), hole(2))

    async with place.running(window=8, chunk=8):
        await soon(lambda: digging.begun and place.reading.calls)
        digging.gate.set()
        await soon(lambda: place.job(2).state is JobState.COMPLETED)
        place.reading.gate.set()
        await place.all_ended()


async def test_what_it_tells_of_itself_is_its_progress(place, digging):
    await place.submit(hole(1))

    async with place.running():
        await soon(lambda: digging.begun)
        digging.begun[0].tell(Progress(7, 20, "features"))
        await soon(lambda: place.job(1).progress)
        digging.gate.set()
        await place.all_ended()

    told = [event for event in place.jobs.events if event.kind is EventKind.PROGRESS]
    assert place.job(1).progress == Progress(7, 20, "features")
    assert [event.data["progress"]["message"] for event in told] == ["features"]


async def test_mere_numbers_are_told_now_and_then_and_a_new_message_at_once():
    jobs, now = MemoryJobs(), [100.0]
    await jobs.store.submit([hole(1)], quota=10)
    [claim] = await jobs.queue.claim("r", ["digging"], limit=1, lease_s=30)
    holds = Holds(jobs.queue, lease_s=30, clock=lambda: now[0])
    attempt = Attempt(claim, is_lone=True)
    holds.take(attempt)
    reporting = asyncio.create_task(holds.report())

    for current in range(50):
        holds.tell(attempt, Progress(current, 50, "features"))
    holds.tell(attempt, Progress(0, 0, "assembly"))
    await soon(lambda: jobs.rows[claim.hold.job_id].job.progress)
    now[0] += LONE_INTERVAL_S / 2
    holds.tell(attempt, Progress(1, 2, "assembly"))
    now[0] += LONE_INTERVAL_S
    holds.tell(attempt, Progress(2, 2, "assembly"))
    await soon(lambda: jobs.rows[claim.hold.job_id].job.progress == Progress(2, 2, "assembly"))
    reporting.cancel()

    told = [event.data["progress"] for event in jobs.events if event.kind is EventKind.PROGRESS]
    assert [each["current"] for each in told] == [0, 2]


async def test_cancelling_the_job_cancels_its_work(place, digging):
    await place.submit(hole(1))

    async with place.running() as runner:
        await soon(lambda: digging.begun)
        await place.jobs.control.cancel(hole(1).job_id)
        await soon(lambda: digging.cancelled)
        await soon(lambda: not runner.running)

    assert place.job(1).state is JobState.CANCELLED
    assert place.files.held == {}


async def test_deleting_the_job_cancels_its_work(place, digging):
    await place.submit(hole(1))

    async with place.running() as runner:
        await soon(lambda: digging.begun)
        await place.jobs.control.delete(hole(1).job_id, limit=1)
        await soon(lambda: digging.cancelled)
        await soon(lambda: not runner.running)

    assert not place.jobs.rows


async def test_stopping_hands_it_back_at_once_and_counts_no_retry(place, digging):
    await place.submit(hole(1))

    async with asyncio.timeout(10), place.running(drain_s=3600):
        await soon(lambda: digging.begun)

    job = place.job(1)
    assert (job.state, job.retry_count, digging.cancelled) == (JobState.PENDING, 0, 1)
    assert place.jobs.events[-1].kind is EventKind.RETRYING


async def test_the_next_runner_goes_on_under_the_same_id(place, digging):
    await place.submit(hole(1))
    async with place.running():
        await soon(lambda: digging.begun)

    async with place.running():
        await soon(lambda: len(digging.begun) == 2)
        digging.gate.set()
        await place.all_ended()

    assert [job.job_id for job in digging.begun] == [hole(1).job_id] * 2
    assert (place.job(1).state, place.job(1).attempt) == (JobState.COMPLETED, 2)


async def test_stopping_while_the_work_of_others_drains_records_theirs(place, digging):
    place.reading.gate = asyncio.Event()
    await place.submit(hole(1), submission(2))

    async with place.running() as runner:
        await soon(lambda: digging.begun and place.reading.calls)
        runner.stop()
        await soon(lambda: digging.cancelled)
        place.reading.gate.set()

    assert [place.job(n).state for n in (1, 2)] == [JobState.PENDING, JobState.COMPLETED]


async def test_its_lease_is_prolonged(place, digging):
    await place.submit(hole(1))

    async with place.running(lease_s=0.03):
        await soon(lambda: digging.begun)
        row = place.jobs.rows[hole(1).job_id]
        for _ in range(3):
            place.jobs.advance(0.02)
            before = row.lease_until
            await soon(lambda before=before: row.lease_until > before)
        expired = await place.jobs.queue.expire(limit=10)
        digging.gate.set()
        await place.all_ended()

    assert expired == 0
    assert place.job(1).attempt == 1


async def test_who_has_lost_the_lease_works_no_more_and_records_nothing(place, digging):
    await place.submit(hole(1, max_retries=3))

    async with place.running(lease_s=0.03) as runner:
        await soon(lambda: digging.begun)
        place.jobs.is_down = True
        place.jobs.advance(1)
        place.jobs.is_down = False
        await place.jobs.queue.expire(limit=10)
        await soon(lambda: digging.cancelled)
        await soon(lambda: not runner.running)
        state, result = place.job(1).state, place.job(1).result
        digging.gate.set()

    assert (state, result) == (JobState.PENDING, None)


async def test_a_rebuild_by_somebody_else_ends_the_job_at_once(place, digging):
    digging.fault = RebuildRunning("node-7 rebuilds cards")
    digging.gate.set()
    await place.submit(hole(1, max_retries=3))

    async with place.running():
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.failure.code, job.attempt) == (JobState.ERROR, "rebuild_running", 1)
    assert job.failure.message == "node-7 rebuilds cards"


async def test_what_there_is_no_source_for_ends_at_once(place, digging):
    digging.fault = IndexNotFound("no source")
    digging.gate.set()
    await place.submit(hole(1))

    async with place.running():
        await place.all_ended()

    assert (place.job(1).state, place.job(1).attempt) == (JobState.ERROR, 1)


async def test_a_source_that_is_away_costs_no_retry(place, digging):
    digging.fault = SourceUnavailable("asks for patience", 3)
    digging.gate.set()
    await place.submit(hole(1, max_retries=0))

    async with place.running(outage=Backoff(0.001, 0.01)):
        await soon(lambda: place.jobs.advance(4) or place.job(1).attempt > 2)
        digging.fault = None
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.retry_count) == (JobState.COMPLETED, 0)


async def test_a_source_that_stays_away_ends_the_job_with_its_patience(place, digging):
    digging.fault = SourceUnavailable("asks for patience", 3)
    digging.gate.set()
    await place.submit(hole(1))

    async with place.running(patience_s=60, outage=Backoff(0.001, 0.002)):
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.failure.code) == (JobState.ERROR, "source_unavailable")
    assert job.retry_count == 0


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ReplicaLost("gone", 1), "replica_lost"),
        (CallTimeout("late"), "call_timeout"),
        (ZeroDivisionError("secret of ours"), "internal_error"),
        (asyncio.CancelledError(), "internal_error"),  # a task that was cancelled elsewhere
    ],
)
async def test_other_faults_are_retried_so_many_times(place, digging, fault, code):
    digging.fault = fault
    digging.gate.set()
    await place.submit(hole(1, max_retries=1))

    async with place.running() as runner:
        await place.all_ended()
        await soon(lambda: not runner.running)

    job = place.job(1)
    assert (job.state, job.failure.code, job.attempt) == (JobState.ERROR, code, 2)
    assert "secret" not in job.failure.message


async def test_an_image_operation_still_needs_an_image(place):
    await place.submit(submission(1, images=()))

    async with place.running():
        await place.all_ended()

    assert place.job(1).failure.code == "empty_image"


async def test_images_of_a_job_that_takes_none_are_not_read(place, digging):
    digging.gate.set()
    await place.submit(submission(1, refs=(ImageRef(blob="uploads/cat"),), operation="digging"))

    async with place.running():
        await place.all_ended()

    assert place.job(1).state is JobState.COMPLETED
    assert place.blobs.reads == 0


async def test_a_database_that_goes_away_costs_it_no_retry(place, digging):
    await place.submit(hole(1))

    async with place.running(lease_s=3600):
        await soon(lambda: digging.begun)
        place.jobs.is_down = True
        digging.gate.set()
        await asyncio.sleep(0.05)
        place.jobs.is_down = False
        await place.all_ended()

    assert (place.job(1).state, place.job(1).retry_count) == (JobState.COMPLETED, 0)
