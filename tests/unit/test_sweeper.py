import pytest

from omma.domain.errors import StoreUnavailable
from omma.domain.jobs import Completed, Submission
from omma.services.files import UNCLAIMED_S, JobFiles
from omma.services.sweeper import RETRY_S, Sweeper
from omma.stores.blobs import open_blobs
from tests.job_fakes import SECOND_LOOK_S, MemoryJobs
from tests.logged import messages


@pytest.fixture
def jobs():
    return MemoryJobs()


@pytest.fixture
def blobs():
    return open_blobs("memory://")


@pytest.fixture
def files(blobs, jobs):
    return JobFiles(blobs, jobs.sweeps, jobs.store)


@pytest.fixture
def sweeper(files, jobs):
    return Sweeper(files, jobs.sweeps, jobs.store)


async def paths(blobs):
    return [each.path async for chunk in blobs.list("") for each in chunk]


async def begin(jobs, job_id="job"):
    await jobs.store.submit([Submission(job_id, "work", (), "me")], quota=100)
    [claim] = await jobs.queue.claim("runner", ["work"], limit=1, lease_s=30)
    return claim.hold


async def complete(jobs, files, job_id="job"):
    """As a runner that is killed between recording the result and moving its files."""
    hold = await begin(jobs, job_id)
    await files.store_attempt(hold, {"a.bin": b"x"})
    await jobs.queue.settle([Completed(hold, {}, has_files=True)])


async def test_with_nothing_due_nothing_is_done(sweeper):
    assert await sweeper.run_once() == 0


async def test_moves_that_were_not_made_are_made(jobs, files, blobs, sweeper):
    await complete(jobs, files)

    assert await sweeper.run_once() == 1
    assert await paths(blobs) == ["jobs/job/a.bin"]
    assert await sweeper.run_once() == 0


async def test_a_folder_is_looked_at_twice(jobs, blobs, sweeper):
    await blobs.put("uploads/gone/0", b"x")
    await jobs.sweeps.intend(["uploads/gone"], due_in_s=0)

    assert await sweeper.run_once() == 1
    await blobs.put("uploads/gone/1", b"written late")
    assert await sweeper.run_once() == 0
    jobs.advance(SECOND_LOOK_S + 1)

    assert await sweeper.run_once() == 1
    assert await paths(blobs) == []
    assert jobs.folders == {}


async def test_an_attempt_that_still_runs_keeps_its_files(jobs, files, blobs, sweeper):
    hold = await begin(jobs)
    await files.store_attempt(hold, {"a.bin": b"x"})
    jobs.advance(UNCLAIMED_S + 1)  # nobody could expire its lease meanwhile

    await sweeper.run_once()
    await jobs.queue.settle([Completed(hold, {}, has_files=True)])
    await sweeper.run_once()

    assert await paths(blobs) == ["jobs/job/a.bin"]


async def test_an_earlier_attempt_of_a_job_that_runs_loses_its_files(jobs, files, blobs, sweeper):
    hold = await begin(jobs)
    await files.store_attempt(hold, {"a.bin": b"x"})
    jobs.advance(60)
    await jobs.queue.expire(limit=1)
    jobs.advance(60)
    await jobs.queue.claim("another", ["work"], limit=1, lease_s=30)

    await sweeper.run_once()

    assert await paths(blobs) == []


@pytest.mark.parametrize("folder", ["uploads/job", "jobs/job"])
async def test_a_job_that_is_there_keeps_its_folders(jobs, blobs, sweeper, folder):
    await begin(jobs)
    await blobs.put(f"{folder}/0", b"x")
    await jobs.sweeps.intend([folder], due_in_s=0)

    await sweeper.run_once()

    assert await paths(blobs) == [f"{folder}/0"]
    assert jobs.folders == {}


async def test_one_folder_that_cannot_be_removed_does_not_hinder_others(
    jobs, blobs, sweeper, caplog
):
    real = blobs.delete

    async def delete(names):
        if "uploads/bad/0" in names:
            raise StoreUnavailable("no")
        await real(names)

    blobs.delete = delete
    for name in ("bad", "good"):
        await blobs.put(f"uploads/{name}/0", b"x")
    await jobs.sweeps.intend(["uploads/bad", "uploads/good"], due_in_s=0)

    assert await sweeper.run_once() == 1
    assert await paths(blobs) == ["uploads/bad/0"]
    assert messages(caplog, "omma.services.sweeper") == ["could not remove a folder"]

    blobs.delete = real
    assert await sweeper.run_once() == 0
    jobs.advance(RETRY_S + 1)
    assert await sweeper.run_once() == 1
    assert await paths(blobs) == []


async def test_one_move_that_fails_does_not_hinder_others(jobs, files, blobs, sweeper, caplog):
    for job_id in ("bad", "good"):
        await complete(jobs, files, job_id)
    real = blobs.move

    async def move(source, target):
        if "bad" in source:
            raise StoreUnavailable("no")
        await real(source, target)

    blobs.move = move

    assert await sweeper.run_once() == 1
    assert sorted(await paths(blobs)) == ["attempts/bad/1/a.bin", "jobs/good/a.bin"]
    assert messages(caplog, "omma.services.sweeper") == ["could not move a job's files"]


async def test_a_run_ends_when_its_time_is_over(jobs, files, blobs):
    await complete(jobs, files)
    await blobs.put("uploads/gone/0", b"x")
    await jobs.sweeps.intend(["uploads/gone"], due_in_s=0)

    assert await Sweeper(files, jobs.sweeps, jobs.store, budget_s=-1).run_once() == 0


async def test_records_that_are_away_are_told_to_the_caller(jobs, sweeper):
    jobs.is_down = True

    with pytest.raises(StoreUnavailable):
        await sweeper.run_once()
