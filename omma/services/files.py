"""The files of jobs: put under the attempt, moved to their documented path, read, swept."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from omma.domain.errors import BlobNotFound, InvalidInput
from omma.domain.jobs import (
    Hold,
    Job,
    JobId,
    JobState,
    attempt_folder,
    result_folder,
    upload_folder,
)
from omma.ports.blobs import BlobInfo, BlobStore, Sweeps
from omma.ports.jobs import JobStore
from omma.services.gathering import Gathering

UNCLAIMED_S = 3600.0  # after which files that nobody made theirs are swept
AT_ONCE = 8  # puts or moves of one job
CHUNK_BYTES = 1024 * 1024  # read at a time for a client
USAGE_AGE_S = 30.0  # how old the figure of disk usage may be: counting reads every folder
KEEPING = {JobState.COMPLETED, JobState.SYNC_FAILED}  # states of jobs that have files
ROOTS = ("attempts", "jobs", "uploads")
JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class JobFiles:
    """What runners, routes and sweepers do with files; one instance serves a process."""

    def __init__(self, blobs: BlobStore, sweeps: Sweeps, jobs: JobStore) -> None:
        self._blobs = blobs
        self._sweeps = sweeps
        self._jobs = jobs
        self._intending = Gathering[str, None](self._intend_all)
        self._usage = (float("-inf"), 0)  # when it was counted, bytes
        self._counting = asyncio.Lock()

    async def store_attempt(self, hold: Hold, files: Mapping[str, bytes]) -> None:
        """Put ``files``, named relative to the job's folder, under the attempt's own.

        They are swept, unless the attempt is settled with them.
        """
        folder = attempt_folder(hold)
        await self._intending.ask(folder)
        await _all(self._blobs.put(f"{folder}/{name}", data) for name, data in files.items())

    async def store_upload(self, job_id: JobId, name: str, data: bytes) -> str:
        """Put an image of a job that is about to be submitted, and answer its path."""
        folder = upload_folder(job_id)
        await self._intending.ask(folder)
        path = f"{folder}/{name}"
        await self._blobs.put(path, data)
        return path

    async def promote(self, hold: Hold) -> None:
        """Move a completed attempt's files to the job's folder; again after any interruption."""
        source, target = attempt_folder(hold), result_folder(hold.job_id)
        async for chunk in self._blobs.list(source):
            await _all(
                self._move(each.path, f"{target}{each.path.removeprefix(source)}") for each in chunk
            )
        await self._sweeps.moved(hold.job_id, hold.attempt)

    async def info(self, job_id: JobId, path: str) -> BlobInfo:
        """The result file at ``path`` below the job's folder, or `BlobNotFound`."""
        job = await self._find(job_id)
        if job is None or job.state not in KEEPING:
            raise _no_file()
        for place in _places(job, path):
            with suppress(BlobNotFound, InvalidInput):
                return await self._blobs.info(place)
        raise _no_file()

    async def stream(self, info: BlobInfo, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes ``start`` to ``end`` of a file that `info` has found, some at a time."""
        for at in range(start, end, CHUNK_BYTES):
            yield await self._part(info.path, at, min(at + CHUNK_BYTES, end))

    async def _part(self, path: str, start: int, end: int) -> bytes:
        try:
            return await self._blobs.read(path, start=start, end=end)
        except BlobNotFound:  # it was moved meanwhile
            return await self._blobs.read(_documented(path), start=start, end=end)

    async def names(self, job_id: JobId) -> list[str]:
        """The files in the job's folder, by their path below it."""
        folder = result_folder(job_id)
        found = [each.path async for chunk in self._blobs.list(folder) for each in chunk]
        return sorted(path.removeprefix(f"{folder}/") for path in found)

    async def disk_usage(self) -> int:
        """Bytes of all files, as they were at most half a minute ago."""
        async with self._counting:
            counted_at, size_bytes = self._usage
            if time.monotonic() - counted_at > USAGE_AGE_S:
                size_bytes = 0
                async for chunk in self._blobs.list(""):
                    size_bytes += sum(each.size_bytes for each in chunk)
                self._usage = (time.monotonic(), size_bytes)
            return size_bytes

    async def remove_folder(self, folder: str) -> int:
        """Remove every file under it; how many those were."""
        count = 0
        async for chunk in self._blobs.list(folder):
            await self._blobs.delete([each.path for each in chunk])
            count += len(chunk)
        return count

    async def remove_orphans(self) -> int:
        """Remove files whose job does not exist, or whose attempt came to nothing; how many.

        Young ones are left: theirs may be a job that is just being submitted.
        """
        count = 0
        for root in ROOTS:
            async for chunk in self._blobs.list(root):
                orphans = await self._orphans([each.path for each in chunk if _is_old(each)])
                await self._blobs.delete(orphans)
                count += len(orphans)
        return count

    async def _orphans(self, paths: Sequence[str]) -> list[str]:
        jobs: dict[str, Job | None] = {}
        for job_id in {_job_id(path) for path in paths}:
            jobs[job_id] = await self._find(job_id)
        return [path for path in paths if _is_orphan(path, jobs[_job_id(path)])]

    async def _find(self, job_id: str) -> Job | None:
        """The job, if there is one; what cannot be an id is not looked up."""
        return await self._jobs.get(JobId(job_id)) if JOB_ID.fullmatch(job_id) else None

    async def _move(self, source: str, target: str) -> None:
        with suppress(BlobNotFound):  # another moved it already
            await self._blobs.move(source, target)

    async def _intend_all(self, folders: Sequence[str]) -> list[None]:
        await self._sweeps.intend(sorted(set(folders)), due_in_s=UNCLAIMED_S)
        return [None] * len(folders)


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do some of it at a time; after the first failure, which is raised, no more is begun."""
    left = iter(work)

    async def take_turns() -> None:
        for each in left:
            await each

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(take_turns())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _places(job: Job, path: str) -> tuple[str, ...]:
    """Where a result file may lie; the first place once more, as it may move while we look."""
    documented = f"{result_folder(job.job_id)}/{path}"
    attempt = attempt_folder(Hold(job.job_id, job.attempt))
    return documented, f"{attempt}/{path}", documented


def _documented(path: str) -> str:
    """Where a file of an attempt is moved to; another path is that already."""
    match path.split("/", 3):
        case ["attempts", job_id, _, name]:
            return f"{result_folder(JobId(job_id))}/{name}"
        case _:
            return path


def _no_file() -> BlobNotFound:
    return BlobNotFound("no job has such a file")  # the same words for jobs and for files


def _job_id(path: str) -> str:
    return path.split("/")[1]


def _is_old(info: BlobInfo) -> bool:
    oldest = datetime.now(UTC) - timedelta(seconds=UNCLAIMED_S)
    return info.modified_at is not None and info.modified_at < oldest


def _is_orphan(path: str, job: Job | None) -> bool:
    if job is None:
        return True
    if not path.startswith("attempts/"):
        return False
    is_last = path.startswith(f"{attempt_folder(Hold(job.job_id, job.attempt))}/")
    return not is_last or (job.state.has_ended and job.state not in KEEPING)
