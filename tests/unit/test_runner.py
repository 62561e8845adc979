"""The job loop, over records in memory."""

import asyncio

import pytest

from omma.domain.errors import TooManyBytes, UrlDenied, UrlRefused, UrlTimeout, UrlUnreachable
from omma.domain.events import EventKind
from omma.domain.faces import Lane
from omma.domain.jobs import Failure, ImageRef, JobState, Progress
from omma.services.attempts import Backoff
from tests.runner_fakes import Reading, Workplace, soon, submission

pytestmark = pytest.mark.timeout(120)  # a busy machine may stand still for many seconds


@pytest.fixture
def place():
    return Workplace()


async def test_a_job_is_completed_with_its_result_its_metrics_and_its_files(place):
    await place.submit(submission(1))

    async with place.running():
        await place.all_ended()
        await soon(lambda: not place.jobs.sweeps.all.folders)

    job = place.job(1)
    assert job.state is JobState.COMPLETED
    assert job.result == {"word": "cat", "path": f"jobs/{job.job_id}/word.bin"}
    assert job.metrics == {"letters": 3, "share": 1 / 3}
    assert place.files.held == {f"jobs/{job.job_id}/word.bin": b"cat"}


async def test_several_images_share_a_call_in_the_lane_of_jobs(place):
    await place.submit(*(submission(n, images=(f"w{n}",)) for n in range(20)))

    async with place.running(chunk=8):
        await place.all_ended()

    assert [len(words) for words, _lane in place.reading.calls] == [8, 8, 4]
    assert {lane for _words, lane in place.reading.calls} == {Lane.JOB}


async def test_jobs_of_other_parameters_do_not_share_a_call(place):
    await place.submit(*(submission(n, params={"x": n % 2}) for n in range(4)))

    async with place.running():
        await place.all_ended()

    assert [len(words) for words, _lane in place.reading.calls] == [2, 2]


async def test_no_more_images_are_in_hand_than_the_window_holds(place):
    place.reading.gate = asyncio.Event()
    await place.submit(*(submission(n) for n in range(50)))

    async with place.running(window=16, chunk=8) as runner:
        await soon(lambda: len(place.reading.calls) == 2)
        await asyncio.sleep(0.02)
        in_hand = runner.running
        place.reading.gate.set()
        await place.all_ended()

    assert in_hand == 16
    assert place.blobs.reads == 50


async def test_a_large_job_is_read_by_the_window(place):
    place.reading.gate = asyncio.Event()
    await place.submit(submission(1, images=[f"w{n}" for n in range(40)]))

    async with place.running(window=8, chunk=4):
        await soon(lambda: len(place.reading.calls) == 2)
        await asyncio.sleep(0.02)
        read = place.blobs.reads
        place.reading.gate.set()
        await place.all_ended()

    assert read == 8
    assert len(place.job(1).result["images"]) == 40


async def test_what_has_a_higher_priority_goes_first(place):
    await place.submit(*(submission(n, images=(f"w{n}",), priority=n) for n in (1, 9, 5)))

    async with place.running(window=1, chunk=1):
        await place.all_ended()

    assert [words for words, _lane in place.reading.calls] == [["w9"], ["w5"], ["w1"]]


async def test_images_come_from_the_media_store_from_urls_and_from_uploads(place):
    place.urls.pages["http://a.example/dog"] = b"dog"
    refs = (
        ImageRef(media_store_id="m1"),
        ImageRef(url="http://a.example/dog"),
        ImageRef(blob="uploads/u"),
    )
    await place.submit(submission(1, refs=refs))

    async with place.running():
        await place.all_ended()

    assert [each["word"] for each in place.job(1).result["images"]] == ["m1", "dog", "u"]


async def test_one_bad_image_of_many_fails_alone(place):
    await place.submit(submission(1, images=("cat", "bad", "horse")))

    async with place.running():
        await place.all_ended()

    job = place.job(1)
    first, second, third = job.result["images"]
    assert job.state is JobState.COMPLETED
    assert first["path"] == f"jobs/{job.job_id}/0/word.bin"
    assert second == {"error": {"code": "undecodable_image", "message": "not an image"}}
    assert third["path"] in place.files.held
    assert (job.result["image_count"], job.result["failed_count"]) == (3, 1)
    assert job.metrics == {"images": 3, "failed": 1, "letters": 8, "share": (1 / 3 + 1 / 5) / 2}


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (ImageRef(blob="uploads/bad"), "undecodable_image"),
        (ImageRef(blob="uploads/gone"), "file_not_found"),
        (ImageRef(blob="uploads/huge"), TooManyBytes.code),
        (ImageRef(media_store_id="none"), "media_not_found"),
    ],
)
async def test_what_no_retry_would_help_ends_at_once(place, image, code):
    await place.submit(submission(1, refs=(image,)))

    async with place.running():
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.failure.code, job.attempt) == (JobState.ERROR, code, 1)


async def test_a_job_all_of_whose_images_fail_fails_with_the_first_error(place):
    refs = (ImageRef(blob="uploads/bad"), ImageRef(blob="uploads/gone"))
    await place.submit(submission(1, refs=refs))

    async with place.running():
        await place.all_ended()

    assert place.job(1).failure == Failure("undecodable_image", "not an image")


async def test_what_may_pass_is_tried_again(place):
    place.reading.down_until = 2
    await place.submit(submission(1))

    async with place.running():
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.attempt, job.retry_count) == (JobState.COMPLETED, 3, 2)


async def test_retries_end_in_an_error_with_its_cause(place):
    place.reading.lost = {"cat"}
    await place.submit(submission(1, max_retries=2))

    async with place.running():
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.attempt) == (JobState.ERROR, 3)
    assert job.failure == Failure("replica_lost", "a model's replica was lost")


@pytest.mark.parametrize("error", [UrlTimeout, UrlUnreachable])
async def test_a_url_that_does_not_answer_is_tried_again_so_many_times(place, error):
    place.urls.pages["http://a.example/dog"] = error("no answer")
    refs = (ImageRef(url="http://a.example/dog"),)
    await place.submit(submission(1, refs=refs, max_retries=2))

    async with place.running():
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.failure.code, job.attempt) == (JobState.ERROR, error.code, 3)


@pytest.mark.parametrize("error", [UrlRefused, UrlDenied])
async def test_a_url_that_is_refused_is_refused_for_good(place, error):
    place.urls.pages["http://10.0.0.1/"] = error("not for you")
    await place.submit(submission(1, refs=(ImageRef(url="http://10.0.0.1/"),)))

    async with place.running():
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.failure.code, job.attempt) == (JobState.ERROR, error.code, 1)


@pytest.mark.parametrize("what", ["model", "media store", "files"])
async def test_an_outage_costs_no_job_a_retry_and_all_go_on_after_it(place, what):
    place.reading.is_away = what == "model"
    place.media.is_away = what == "media store"
    place.files.is_full = what == "files"
    refs = (ImageRef(media_store_id="7"),)
    await place.submit(*(submission(n, refs=refs, max_retries=0) for n in range(200)))

    async with place.running(outage=Backoff(0.001, 0.01)):
        for _ in range(30):
            place.jobs.advance(10)
            await asyncio.sleep(0.005)
        touched = sum(place.job(n).attempt > 0 for n in range(200))
        place.reading.is_away = place.media.is_away = place.files.is_full = False
        await place.all_ended()

    jobs = [place.job(n) for n in range(200)]
    assert {(job.state, job.retry_count) for job in jobs} == {(JobState.COMPLETED, 0)}
    assert max(job.attempt for job in jobs) > 2
    assert touched < 100  # what was in hand, and the probes: the others are left in peace


async def test_an_outage_of_one_operation_does_not_slow_another(place):
    place.reading.is_away = True
    place.handlers["hearing"] = Reading()
    await place.submit(*(submission(n) for n in range(100)))
    await place.submit(*(submission(n, operation="hearing") for n in range(100, 200)))

    async with place.running(outage=Backoff(100, 100)):
        await soon(lambda: all(place.job(n).state.has_ended for n in range(100, 200)))

    assert {place.job(n).state for n in range(100)} == {JobState.PENDING}


async def test_a_job_that_waited_too_long_for_something_outside_ends_with_the_last_cause(place):
    place.reading.is_away = True
    await place.submit(submission(1))

    async with place.running(patience_s=60, outage=Backoff(0.001, 0.002)):
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.retry_count) == (JobState.ERROR, 0)
    assert 60 < (job.completed_at - job.started_at).total_seconds() < 80
    assert job.attempt > 3
    assert job.failure == Failure("not_ready", "a model's deployment is not running")


async def test_a_handler_that_never_returns_keeps_no_job(place):
    place.reading.hangs = True
    await place.submit(submission(1, max_retries=1), submission(2, max_retries=1))

    async with place.running(call_timeout_s=0.02):
        await place.all_ended()

    assert [place.job(n).failure.code for n in (1, 2)] == ["call_timeout", "call_timeout"]
    assert [place.job(n).attempt for n in (1, 2)] == [2, 2]


async def test_one_image_that_may_pass_has_the_whole_job_tried_again_and_is_left_out_at_last(place):
    place.urls.pages["http://a.example/dog"] = UrlTimeout("no answer")
    refs = (ImageRef(url="http://a.example/dog"), ImageRef(blob="uploads/cat"))
    await place.submit(submission(1, refs=refs, max_retries=1))

    async with place.running():
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.attempt, job.result["failed_count"]) == (JobState.COMPLETED, 2, 1)


async def test_a_job_that_costs_models_their_replicas_takes_no_other_along(place):
    place.reading.lost = {"poison"}
    await place.submit(*(submission(n) for n in range(5)), submission(9, images=("poison",)))

    async with place.running():
        await place.all_ended()

    assert place.job(9).state is JobState.ERROR
    assert all(place.job(n).state is JobState.COMPLETED for n in range(5))
    assert all(place.job(n).attempt == 2 for n in range(5))


async def test_an_unforeseen_fault_is_recorded_without_its_text(place):
    await place.submit(submission(1, images=("unkeepable",), max_retries=1))

    async with place.running():
        await place.all_ended()

    job = place.job(1)
    assert (job.state, job.failure.code, job.attempt) == (JobState.ERROR, "internal_error", 2)
    assert "secret" not in job.failure.message


async def test_a_job_without_images_is_an_error(place):
    await place.submit(submission(1, images=()))

    async with place.running():
        await place.all_ended()

    assert place.job(1).failure.code == "empty_image"


async def test_a_running_job_that_is_cancelled_stops_its_work(place):
    place.reading.gate = asyncio.Event()
    await place.submit(submission(1))

    async with place.running() as runner:
        await soon(lambda: place.reading.calls)
        await place.jobs.control.cancel(submission(1).job_id)
        await soon(lambda: place.reading.cancelled)
        await soon(lambda: not runner.running)

    assert place.job(1).state is JobState.CANCELLED
    assert place.files.held == {}


async def test_a_cancelled_job_leaves_those_that_share_its_call_alone(place):
    place.reading.gate = asyncio.Event()
    await place.submit(submission(1), submission(2))

    async with place.running() as runner:
        await soon(lambda: place.reading.calls)
        await place.jobs.control.cancel(submission(1).job_id)
        await soon(lambda: runner.running == 1)
        place.reading.gate.set()
        await place.all_ended()

    assert place.job(1).state is JobState.CANCELLED
    assert place.job(2).state is JobState.COMPLETED
    assert not any(submission(1).job_id in path for path in place.files.held)


async def test_leases_are_prolonged_while_work_goes_on(place):
    place.reading.gate = asyncio.Event()
    await place.submit(submission(1))

    async with place.running(lease_s=0.03):
        await soon(lambda: place.reading.calls)
        row = place.jobs.rows[submission(1).job_id]
        for _ in range(3):
            place.jobs.advance(0.02)
            before = row.lease_until
            await soon(lambda before=before: row.lease_until > before)
        expired = await place.jobs.queue.expire(limit=10)
        place.reading.gate.set()
        await place.all_ended()

    assert expired == 0
    assert place.job(1).attempt == 1


async def test_who_has_lost_the_lease_writes_nothing(place):
    place.reading.gate = asyncio.Event()
    await place.submit(submission(1))

    async with place.running(lease_s=3600) as runner:  # its heart will not beat in time
        await soon(lambda: place.reading.calls)
        place.jobs.advance(3601)
        await place.jobs.queue.expire(limit=10)
        place.reading.gate.set()
        await soon(lambda: not runner.running)

        assert place.job(1).state is JobState.PENDING
        assert place.job(1).result is None
        assert not any(path.startswith("jobs/") for path in place.files.held)


async def test_a_database_that_goes_away_costs_no_job(place):
    place.reading.gate = asyncio.Event()
    await place.submit(*(submission(n) for n in range(40)))

    async with place.running():
        await soon(lambda: place.reading.calls)
        place.jobs.is_down = True
        place.reading.gate.set()
        await asyncio.sleep(0.1)
        place.jobs.is_down = False
        await place.all_ended()

    assert all(place.job(n).state is JobState.COMPLETED for n in range(40))


async def test_while_files_find_no_place_no_more_jobs_are_claimed(place):
    place.files.is_full = True
    await place.submit(*(submission(n) for n in range(60)))

    async with place.running(window=8):
        await soon(lambda: place.files.tries >= 8)
        await asyncio.sleep(0.05)
        tries = place.files.tries
        place.files.is_full = False

    assert tries <= 24  # of sixty jobs
    assert {place.job(n).state for n in range(60)} == {JobState.PENDING}
    assert not any(place.job(n).retry_count for n in range(60))


async def test_progress_is_told_for_jobs_of_several_images(place):
    place.reading.gate = asyncio.Event()
    await place.submit(submission(1, images=("a", "b", "c", "d", "e", "f")))

    async with place.running(chunk=2, window=2):
        for _ in range(2):
            await soon(lambda: place.reading.calls)
            place.reading.calls.clear()
            gate, place.reading.gate = place.reading.gate, asyncio.Event()
            gate.set()
        await soon(lambda: place.job(1).progress)
        progress = place.job(1).progress
        place.reading.gate.set()
        place.reading.gate = None
        await place.all_ended()

    assert progress.total == 6
    assert progress.current in {2, 4}
    assert progress.percentage == Progress(progress.current, 6).percentage


async def test_stopping_lets_running_work_end_and_claims_no_more(place):
    place.reading.gate = asyncio.Event()
    await place.submit(*(submission(n) for n in range(4)))

    async with place.running(window=2, chunk=2) as runner:
        await soon(lambda: place.reading.calls)
        runner.stop()
        place.reading.gate.set()

    states = [place.job(n).state for n in range(4)]
    assert states == [JobState.COMPLETED] * 2 + [JobState.PENDING] * 2


async def test_stopping_hands_back_what_does_not_end_in_time(place):
    place.reading.gate = asyncio.Event()
    await place.submit(submission(1))

    async with place.running(drain_s=0.01):
        await soon(lambda: place.reading.calls)

    job = place.job(1)
    assert (job.state, job.retry_count, place.reading.cancelled) == (JobState.PENDING, 0, 1)
    assert place.jobs.events[-1].kind is EventKind.RETRYING


async def test_models_that_go_away_while_stopping_cost_no_retry(place):
    place.reading.gate = asyncio.Event()
    place.reading.lost = {"cat"}
    await place.submit(submission(1))

    async with place.running() as runner:
        await soon(lambda: place.reading.calls)
        runner.stop()
        place.reading.gate.set()

    assert (place.job(1).state, place.job(1).retry_count) == (JobState.PENDING, 0)


async def test_stopping_without_a_database_ends_nevertheless(place):
    place.reading.gate = asyncio.Event()
    await place.submit(submission(1))

    async with place.running(drain_s=0.01):
        await soon(lambda: place.reading.calls)
        place.jobs.is_down = True

    assert place.jobs.rows[submission(1).job_id].runner == "r"  # until its lease ends
