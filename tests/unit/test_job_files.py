import asyncio
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from omma.domain.errors import BlobNotFound, StoreFull
from omma.domain.jobs import Completed, Failed, Failure, Hold, Submission
from omma.services import files as files_module
from omma.services.files import UNCLAIMED_S, JobFiles
from omma.services.sweeper import Sweeper
from omma.stores.blobs import open_blobs
from tests.job_fakes import SECOND_LOOK_S, MemoryJobs
from tests.s3_servers import BUCKET, s3_server

__all__ = ["s3_server"]

FILES = {"embedding.bin": b"numbers", "faces/0.jpg": b"a face", "faces/1.jpg": b"another"}
DOCUMENTED = {f"jobs/job/{name}": data for name, data in FILES.items()}


class Killed(BaseException):
    """As SIGKILL: nothing of the process runs on."""


@dataclass
class Fuse:
    """Ends its process at one of the operations it counts: before its effect, or just after."""

    at: int
    after: bool = False
    passed: int = 0
    begun: list = field(default_factory=list)

    async def run(self, operation):
        self.passed += 1
        is_last = self.passed >= self.at
        if is_last and not (self.after and self.passed == self.at):
            operation.close()
            raise Killed
        self.begun.append(asyncio.ensure_future(operation))
        answer = await asyncio.shield(self.begun[-1])
        if is_last:
            raise Killed
        return answer


@dataclass
class Fused:
    """A port whose every operation goes through the fuse."""

    real: object
    fuse: Fuse

    def __getattr__(self, name):
        real = getattr(self.real, name)
        if name == "list":
            return real
        return lambda *words, **named: self.fuse.run(real(*words, **named))


@dataclass
class World:
    """One database and one blob store, whoever dies."""

    jobs: MemoryJobs = field(default_factory=MemoryJobs)
    blobs: object = field(default_factory=lambda: open_blobs("memory://"))

    @property
    def files(self):
        return JobFiles(self.blobs, self.jobs.sweeps, self.jobs.store)

    @property
    def sweeper(self):
        return Sweeper(self.files, self.jobs.sweeps, self.jobs.store)

    def fused(self, fuse):
        sweeps = Fused(self.jobs.sweeps, fuse)
        return JobFiles(Fused(self.blobs, fuse), sweeps, self.jobs.store)

    async def submit(self, job_id="job"):
        await self.jobs.store.submit([Submission(job_id, "work", (), "me")], quota=10)

    async def claim(self):
        [claim] = await self.jobs.queue.claim("runner", ["work"], limit=1, lease_s=30)
        return claim.hold

    async def complete(self, hold, files=None):
        files = files or self.files
        await files.store_attempt(hold, FILES)
        await self.jobs.queue.settle([Completed(hold, {}, has_files=True)])
        await files.promote(hold)

    async def settle_down(self):
        """Let all times pass, with a sweeper at work."""
        for pause_s in (0, UNCLAIMED_S + 1, SECOND_LOOK_S + 1, SECOND_LOOK_S + 1):
            self.jobs.advance(pause_s)
            await self.jobs.queue.expire(limit=10)
            await self.sweeper.run_once()

    async def everything(self):
        paths = [each.path async for chunk in self.blobs.list("") for each in chunk]
        return {path: await self.blobs.read(path) for path in paths}


async def until_killed(work, fuse):
    """Let a process do its work until it is killed, at the very end if nowhere else."""
    try:
        await work
    except Killed:
        pass
    except BaseExceptionGroup as group:
        _, others = group.split(Killed)
        assert others is None
    await asyncio.gather(*fuse.begun)  # what it had sent takes its effect


@pytest.fixture(params=["memory", "folder", "s3"])
def world(request, tmp_path):
    match request.param:
        case "memory":
            return World()
        case "folder":
            return World(blobs=open_blobs(str(tmp_path / "blobs")))
        case _:
            server = request.getfixturevalue("s3_server")
            return World(blobs=open_blobs(f"s3://{BUCKET}/{uuid.uuid4().hex}", server.access))


async def test_files_lie_under_the_attempt_until_they_are_moved(world):
    await world.submit()
    hold = await world.claim()

    await world.files.store_attempt(hold, FILES)
    assert await world.everything() == {f"attempts/job/1/{n}": d for n, d in FILES.items()}

    await world.jobs.queue.settle([Completed(hold, {}, has_files=True)])
    await world.files.promote(hold)
    assert await world.everything() == DOCUMENTED
    assert await world.files.names("job") == sorted(FILES)
    assert await world.jobs.sweeps.unmoved(limit=10) == []


async def test_the_folder_is_on_record_before_the_first_file_is_put(world):
    await world.submit()
    hold = await world.claim()
    seen = []

    async def put(path, data):
        del path, data
        seen.append(dict(world.jobs.folders))

    world.blobs.put = put
    await world.files.store_attempt(hold, FILES)

    assert all("attempts/job/1" in folders for folders in seen)


async def test_moving_again_changes_nothing(world):
    await world.submit()
    hold = await world.claim()
    await world.complete(hold)

    await asyncio.gather(world.files.promote(hold), world.files.promote(hold))

    assert await world.everything() == DOCUMENTED


async def test_two_that_move_at_once_do_not_hinder_each_other(world):
    await world.submit()
    hold = await world.claim()
    await world.files.store_attempt(hold, FILES)

    await asyncio.gather(world.files.promote(hold), world.files.promote(hold))

    assert await world.everything() == DOCUMENTED


async def test_a_put_that_fails_is_told_and_stops_the_rest(world):
    puts = 0

    async def put(path, data):
        nonlocal puts
        del path, data
        puts += 1
        raise StoreFull("no room")

    world.blobs.put = put

    with pytest.raises(StoreFull):
        await world.files.store_attempt(Hold("job", 1), {str(n): b"x" for n in range(100)})
    assert puts < 100


async def test_puts_run_together_but_not_all_at_once(world):
    running, most = 0, 0

    async def put(path, data):
        nonlocal running, most
        del path, data
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    world.blobs.put = put
    await world.files.store_attempt(Hold("job", 1), {str(n): b"x" for n in range(100)})

    assert most == files_module.AT_ONCE


async def test_an_upload_that_is_submitted_stays(world):
    path = await world.files.store_upload("job", "0", b"image")
    await world.submit()
    await world.settle_down()

    assert await world.everything() == {path: b"image"}


async def test_an_upload_that_is_never_submitted_is_swept(world):
    await world.files.store_upload("job", "0", b"image")
    await world.settle_down()

    assert await world.everything() == {}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 10))
async def test_wherever_a_runner_dies_no_file_is_lost_and_none_is_left_over(world, at, after):
    await world.submit()
    hold = await world.claim()
    fuse = Fuse(at, after)
    await until_killed(world.complete(hold, world.fused(fuse)), fuse)

    await world.settle_down()
    if (await world.jobs.store.get("job")).completed_at is None:
        await world.complete(await world.claim())
        await world.settle_down()

    assert await world.everything() == DOCUMENTED
    assert world.jobs.folders == {}
    assert await world.jobs.sweeps.unmoved(limit=10) == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 4))
async def test_wherever_a_submitting_client_dies_nothing_is_left_over(world, at, after):
    fuse = Fuse(at, after)
    await until_killed(world.fused(fuse).store_upload("job", "0", b"image"), fuse)

    await world.settle_down()

    assert await world.everything() == {}
    assert world.jobs.folders == {}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
async def test_wherever_a_sweeper_dies_the_next_one_ends_its_work(world, at, after):
    await world.submit()
    await world.complete(await world.claim())
    await world.jobs.control.delete("job", limit=1)
    fuse = Fuse(at, after)
    sweeper = Sweeper(world.fused(fuse), Fused(world.jobs.sweeps, fuse), world.jobs.store)

    await until_killed(sweeper.run_once(), fuse)
    await world.settle_down()

    assert await world.everything() == {}
    assert world.jobs.folders == {}


async def test_files_of_an_attempt_that_failed_are_swept(world):
    await world.submit()
    hold = await world.claim()
    await world.files.store_attempt(hold, FILES)
    await world.jobs.queue.settle([Failed(hold, Failure("code", "why"), None)])
    await world.sweeper.run_once()

    assert await world.everything() == {}


async def test_files_of_a_deleted_job_are_swept_even_if_written_late(world):
    await world.submit()
    hold = await world.claim()
    await world.files.store_attempt(hold, FILES)
    await world.files.store_upload("job", "0", b"image")
    await world.jobs.control.delete("job", limit=1)
    await world.sweeper.run_once()
    assert await world.everything() == {}

    await world.blobs.put("attempts/job/1/late.bin", b"late")
    await world.settle_down()

    assert await world.everything() == {}


async def test_disk_usage_counts_every_file_and_remembers_for_a_while(world, monkeypatch):
    await world.blobs.put("jobs/1/a", b"12345")
    await world.blobs.put("elsewhere", b"678")
    files = world.files
    assert await files.disk_usage() == 8

    await world.blobs.put("jobs/1/b", b"9")
    assert await files.disk_usage() == 8

    monkeypatch.setattr(files_module, "USAGE_AGE_S", -1)
    assert await files.disk_usage() == 9


async def test_removing_a_folder_counts_its_files(world):
    for path in ("jobs/1/a", "jobs/1/b/c", "jobs/12/d"):
        await world.blobs.put(path, b"x")

    assert await world.files.remove_folder("jobs/1") == 2
    assert list(await world.everything()) == ["jobs/12/d"]


@dataclass
class Aged:
    """A blob store whose files seem older than they are."""

    real: object
    by: timedelta

    def __getattr__(self, name):
        return getattr(self.real, name)

    async def list(self, prefix):
        async for chunk in self.real.list(prefix):
            yield [replace(each, modified_at=datetime.now(UTC) - self.by) for each in chunk]


async def orphans_removed(world, by):
    aged = Aged(world.blobs, by)
    return await JobFiles(aged, world.jobs.sweeps, world.jobs.store).remove_orphans()


async def test_orphans_are_files_of_no_job_and_of_attempts_that_came_to_nothing(world):
    await world.submit()
    await world.complete(await world.claim())
    kept = await world.everything()
    orphans = [
        "jobs/gone/a", "attempts/gone/1/a", "uploads/gone/0", "attempts/job/0/a", "jobs/not an id/a"
    ]  # fmt: skip
    others = ["models/a", "attempts/job/1/late"]
    for path in (*orphans, *others):
        await world.blobs.put(path, b"x")

    assert await orphans_removed(world, timedelta(seconds=UNCLAIMED_S + 60)) == len(orphans)
    assert set(await world.everything()) == {*kept, *others}
    assert await orphans_removed(world, timedelta(days=9)) == 0


async def test_files_of_an_attempt_that_runs_are_no_orphans(world):
    await world.submit()
    await world.files.store_attempt(await world.claim(), FILES)

    assert await orphans_removed(world, timedelta(days=9)) == 0


async def test_young_files_are_no_orphans(world):
    await world.blobs.put("uploads/gone/0", b"being submitted")

    assert await orphans_removed(world, timedelta(seconds=60)) == 0


async def test_a_stream_goes_on_when_its_file_moves(world, monkeypatch):
    monkeypatch.setattr(files_module, "CHUNK_BYTES", 2)
    await world.submit()
    hold = await world.claim()
    await world.files.store_attempt(hold, FILES)
    await world.jobs.queue.settle([Completed(hold, {}, has_files=True)])
    info = await world.files.info("job", "embedding.bin")
    stream = world.files.stream(info, 1, 7)
    parts = [await anext(stream)]

    await world.files.promote(hold)
    parts += [part async for part in stream]

    assert parts == [b"um", b"be", b"rs"]


async def test_a_file_that_moves_while_it_is_looked_for_is_found(world):
    await world.submit()
    hold = await world.claim()
    await world.files.store_attempt(hold, FILES)
    await world.jobs.queue.settle([Completed(hold, {}, has_files=True)])
    real = world.blobs.info

    async def info(path):
        if path.startswith("attempts/"):
            await world.files.promote(hold)
        return await real(path)

    world.blobs.info = info

    assert (await world.files.info("job", "embedding.bin")).path == "jobs/job/embedding.bin"


async def test_an_unknown_job_has_no_files(world):
    with pytest.raises(BlobNotFound):
        await world.files.info("unknown", "embedding.bin")
