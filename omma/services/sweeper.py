"""What crashes left behind: moves that were not finished, files that are nobody's."""

import logging
import time

from omma.domain.errors import OmmaError
from omma.domain.jobs import Hold, JobId, JobState
from omma.ports.blobs import Sweeps
from omma.ports.jobs import JobStore
from omma.services.files import UNCLAIMED_S, JobFiles

log = logging.getLogger(__name__)

LIMIT = 100  # moves, and folders, of one run
BUDGET_S = 20.0  # after which a run begins nothing more
RETRY_S = 300.0  # before a folder that could not be removed has its turn again


class Sweeper:
    """Finishes moves and removes folders whose time has come; run by one process at a time."""

    def __init__(
        self, files: JobFiles, sweeps: Sweeps, jobs: JobStore, *, budget_s: float = BUDGET_S
    ) -> None:
        self._files = files
        self._sweeps = sweeps
        self._jobs = jobs
        self._budget_s = budget_s

    async def run_once(self) -> int:
        """Do some of what is due; how many moves and folders that were."""
        until = time.monotonic() + self._budget_s
        return await self._move_some(until) + await self._sweep_some(until)

    async def _move_some(self, until: float) -> int:
        done = 0
        for job_id, attempt in await self._sweeps.unmoved(limit=LIMIT):
            if time.monotonic() > until:
                break
            try:
                await self._files.promote(Hold(JobId(job_id), attempt))
                done += 1
            except OmmaError as error:
                extra = {"job_id": job_id, "reason": str(error)}
                log.warning("could not move a job's files", extra=extra)
        return done

    async def _sweep_some(self, until: float) -> int:
        done = 0
        for folder in await self._sweeps.due(limit=LIMIT):
            if time.monotonic() > until:
                break
            try:
                await self._sweep(folder)
                done += 1
            except OmmaError as error:
                extra = {"folder": folder, "reason": str(error)}
                log.warning("could not remove a folder", extra=extra)
                await self._sweeps.intend([folder], due_in_s=RETRY_S)
        return done

    async def _sweep(self, folder: str) -> None:
        match folder.split("/"):
            case ["attempts", job_id, attempt] if await self._is_running(job_id, attempt):
                # The database was away for longer than files may wait: they are still somebody's.
                await self._sweeps.intend([folder], due_in_s=UNCLAIMED_S)
            case [_, job_id] if await self._jobs.get(JobId(job_id)):
                await self._sweeps.settled([folder])
            case _:
                await self._remove(folder)

    async def _is_running(self, job_id: str, attempt: str) -> bool:
        job = await self._jobs.get(JobId(job_id))
        if job is None or job.state is not JobState.PROCESSING:
            return False
        return str(job.attempt) == attempt

    async def _remove(self, folder: str) -> None:
        files = await self._files.remove_folder(folder)
        await self._sweeps.swept(folder)
        if files:
            log.info("removed files that were nobody's", extra={"folder": folder, "files": files})
