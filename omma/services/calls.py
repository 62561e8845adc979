"""Calls of operations: for images of several jobs together, or for one job that takes none."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from omma.domain.errors import CallTimeout, OmmaError
from omma.domain.faces import Lane
from omma.domain.jobs import Claim, Hold, Json, Progress
from omma.ports.operations import JobHandler, Kept, LoneJob
from omma.services.attempts import Attempt, Part, Piece
from omma.services.inputs import Inputs

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class AttemptFiles(Protocol):
    """Where attempts put their files; `services.files.JobFiles` is one."""

    async def store_attempt(self, hold: Hold, files: Mapping[str, bytes]) -> None:
        """Put ``files``, named relative to the job's folder, under the attempt's own."""
        ...

    async def promote(self, hold: Hold) -> None:
        """Move them to the job's own folder, after the attempt was recorded."""
        ...


@dataclass(frozen=True, slots=True)
class Calls:
    """Runs pieces of attempts; every one of them gets its part or its error."""

    handlers: Mapping[str, JobHandler]
    inputs: Inputs
    files: AttemptFiles
    timeout_s: float = 600.0  # of each step: reading, answering, keeping; not of lone jobs

    def attempt(self, claim: Claim) -> Attempt:
        """A claimed job, with nothing done yet."""
        handler = self.handlers[claim.job.asked.operation]
        return Attempt(claim, is_lone=not handler.takes_images)

    async def run_alone(self, attempt: Attempt, tell: Callable[[Attempt, Progress], None]) -> None:
        """Fill in the one part of a lone attempt, however long it takes."""
        asked = attempt.claim.job.asked
        handler = self.handlers[asked.operation]
        job = LoneJob(attempt.hold.job_id, partial(tell, attempt))
        outcome = await self._known(handler.run_alone(asked.params, job), timeout_s=None)
        kept = self._keep(handler, Piece(attempt, 0), outcome)
        attempt.parts[0] = await self._known(kept, timeout_s=self.timeout_s)

    async def run(self, pieces: Sequence[Piece]) -> None:
        """Fill in the parts of ``pieces``, which are of one operation with equal parameters."""
        if not pieces:
            return
        reads = (
            self._known(self.inputs.read(piece.image), timeout_s=self.timeout_s) for piece in pieces
        )
        images = await asyncio.gather(*reads)
        asked = pieces[0].attempt.claim.job.asked
        handler = self.handlers[asked.operation]
        outcomes = await self._run(handler, images, asked.params)
        kept = (
            self._known(self._keep(handler, piece, outcome), timeout_s=self.timeout_s)
            for piece, outcome in zip(pieces, outcomes, strict=True)
        )
        for piece, part in zip(pieces, await asyncio.gather(*kept), strict=True):
            piece.attempt.parts[piece.index] = part

    async def _run(
        self, handler: JobHandler, images: Sequence[bytes | OmmaError], params: Json
    ) -> list[Any | OmmaError]:
        readable = [image for image in images if isinstance(image, bytes)]
        if not readable:
            return list(images)
        found = await self._known(_run(handler, readable, params), timeout_s=self.timeout_s)
        answers = iter([found] * len(readable) if isinstance(found, OmmaError) else found)
        return [next(answers) if isinstance(image, bytes) else image for image in images]

    async def _keep(self, handler: JobHandler, piece: Piece, outcome: Any) -> Part:
        if isinstance(outcome, OmmaError):
            raise outcome
        kept, metrics = await asyncio.to_thread(_described, handler, outcome, piece.folder)
        files = {f"{piece.subfolder}{name}": data for name, data in kept.files.items()}
        if files and not piece.attempt.is_void:
            await self.files.store_attempt(piece.attempt.hold, files)
        return Part(kept.result, metrics, has_files=bool(files))

    async def _known(
        self, work: Awaitable[Answer], *, timeout_s: float | None
    ) -> Answer | OmmaError:
        """What ``work`` answers or raises; of what nobody foresaw, only the log is told more."""
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                return await work
        except OmmaError as error:
            return error
        except Exception:
            if limit.expired():
                return CallTimeout(f"expected an answer within {timeout_s:g} s")
            log.exception("a part of a job failed in an unforeseen way")
            return OmmaError("an internal error; the runner's log says more")


async def _run(handler: JobHandler, images: Sequence[bytes], params: Json) -> list[Any | OmmaError]:
    outcomes = await handler.run(images, params, lane=Lane.JOB)
    if len(outcomes) != len(images):
        raise ValueError(f"expected {len(images)} outcomes, got {len(outcomes)}")
    return outcomes


def _described(handler: JobHandler, outcome: Any, folder: str) -> tuple[Kept, Json]:
    return handler.keep(outcome, folder), handler.measure(outcome)
