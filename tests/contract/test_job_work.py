"""The runner and the chores of one process, over real records."""

import asyncio

import pytest

from deployments.ingress import Ingress
from deployments.jobs import JobWork
from deployments.records import open_records
from omma.domain.errors import NotReady
from omma.domain.jobs import JobState
from omma.operations.registry import OPERATIONS
from omma.settings import JobSettings, Settings
from tests.runner_fakes import Reading, soon, submission


@pytest.fixture
async def records(tmp_path):
    records = await open_records(Settings(home=tmp_path))
    yield records
    await records.close()


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, jobs=JobSettings(poll_interval_s=0.01, drain_s=1))


async def submit(records, number):
    """A job whose upload says cat; its id."""
    asked = submission(number)
    await records.blobs.put(asked.images[0].blob, b"cat")
    [job] = await records.jobs.submit([asked], quota=10)
    return job.job_id


async def test_a_job_is_worked_on_and_its_files_lie_where_documented(settings, records):
    work = JobWork(settings, records, {"reading": Reading()})
    job_id = await submit(records, 1)

    await soon(lambda: records.files.names(job_id))
    job = await records.jobs.get(job_id)
    await work.stop()

    assert job.state is JobState.COMPLETED
    assert job.result["path"] == f"jobs/{job_id}/word.bin"
    assert await records.blobs.read(job.result["path"]) == b"cat"


async def test_what_runs_when_it_stops_is_handed_back_and_leases_are_free(settings, records):
    reading = Reading(gate=asyncio.Event())
    hasty = settings.model_copy(update={"jobs": JobSettings(poll_interval_s=0.01, drain_s=0.01)})
    work = JobWork(hasty, records, {"reading": reading})
    job_id = await submit(records, 1)
    await soon(lambda: reading.calls)
    load = await work.load()

    await work.stop()

    job = await records.jobs.get(job_id)
    assert load == {"waiting": 0, "running": 1}
    assert (job.state, job.retry_count) == (JobState.PENDING, 0)
    assert await records.leases.acquire("chore:sweep", "another", ttl_s=1)


async def test_who_waits_for_its_end_may_be_cancelled_and_it_is_handed_back_nevertheless(
    settings, records
):
    reading = Reading(gate=asyncio.Event())
    work = JobWork(settings, records, {"reading": reading})
    job_id = await submit(records, 1)
    await soon(lambda: reading.calls)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await work.stop()
    await work.stop()

    job = await records.jobs.get(job_id)
    assert (job.state, job.retry_count) == (JobState.PENDING, 0)


async def test_a_loop_that_has_ended_is_unhealthy(settings, records):
    work = JobWork(settings, records, {"reading": Reading()})
    work.check()

    await work.stop()

    with pytest.raises(NotReady, match="has died"):
        work.check()


def test_the_applications_handle_has_a_method_for_every_operation_and_for_jobs():
    methods = {each.handle_method for each in OPERATIONS} | {"submit_job", "get_job"}

    assert methods <= set(dir(Ingress))
