"""Bars of jobs that move as the jobs do."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from omma.cli.progress import LiveBars
from omma.client.errors import RequestRefused
from omma.client.jobs import JobCalls
from omma.domain.events import EventKind
from omma.wire.events import StreamedEvent
from omma.wire.jobs import JobAnswer, JobListParams, JobSummary

STREAMS = 20  # at once; the others' past is told when their turn comes
COLOURS = {"completed": "green", "error": "red", "cancelled": "yellow", "sync_failed": "yellow"}
ACTIVE = ("pending", "processing")
STATES = {
    EventKind.SUBMITTED: "pending",
    EventKind.STARTED: "processing",
    EventKind.PROGRESS: "processing",
    EventKind.RETRYING: "pending",
    EventKind.COMPLETED: "completed",
    EventKind.FAILED: "error",
    EventKind.CANCELLED: "cancelled",
    EventKind.SYNC_FAILED: "sync_failed",
    EventKind.DELETED: "deleted",
}


class JobBars(LiveBars):
    """One bar a job on standard error; plain lines on standard output with ``as_json``."""

    def __init__(self, *, as_json: bool) -> None:
        console = Console(stderr=True)
        super().__init__(console, "state", is_drawn=console.is_terminal and not as_json)
        self._as_json = as_json
        self._lines: dict[str, str] = {}  # the last of each job, where there is no terminal

    def show(self, job: JobSummary) -> None:
        """Draw a job as it stands."""
        made = job.progress
        progress = made.model_dump() if made else {}
        self._draw(job.job_id, job.task_type, job.status, progress)

    def tell(self, event: StreamedEvent) -> None:
        """Draw what an event says."""
        if self._as_json:
            typer.echo(event.model_dump_json())
            return
        progress: dict[str, Any] = event.data.get("progress") or {}
        operation = str(event.data.get("operation", ""))
        self._draw(event.job_id, operation, STATES[event.event], progress)

    def _draw(self, job_id: str, operation: str, state: str, progress: dict[str, Any]) -> None:
        line, message = f"{job_id}  {operation}", str(progress.get("message") or "")
        if not self._console.is_terminal and not self._as_json:
            self._print(job_id, f"{line}  {state}  {message}".rstrip())
        amount: dict[str, Any] = _amount(progress)
        if job_id not in self._tasks:
            self._tasks[job_id] = self._bars.add_task(line, total=None, state="")
        if state == "completed":
            amount = {"completed": 1, "total": 1}
        colour = COLOURS.get(state, "cyan")
        said = f"[{colour}]{state} {escape(message)}".rstrip()
        self._bars.update(self._tasks[job_id], state=said, **amount)

    def _print(self, job_id: str, line: str) -> None:
        """A line only where it says something new: some jobs tell for hours."""
        if self._lines.get(job_id) != line:
            self._lines[job_id] = line
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def _amount(progress: dict[str, Any]) -> dict[str, Any]:
    """What a bar shows; it pulses while nobody knows of how much."""
    if not progress:
        return {}
    return {"completed": progress["current"], "total": progress["total"] or None}


async def watch_jobs(client: JobCalls, job_ids: Sequence[str], bars: JobBars) -> list[JobAnswer]:
    """Follow all of them to their ends; how they stand then, those that were deleted aside."""
    turns = asyncio.Semaphore(STREAMS)

    async def follow(job_id: str) -> JobAnswer | None:
        async with turns:
            async for heard in client.watch(job_id):
                bars.tell(heard.event)
            with suppress(RequestRefused):
                return await client.job(job_id)
            return None

    ended = await asyncio.gather(*(follow(job_id) for job_id in job_ids))
    return [job for job in ended if job is not None]


async def watch_all(client: JobCalls, bars: JobBars) -> None:
    """Follow whatever happens, until somebody has seen enough."""
    for job in (await client.jobs(JobListParams.model_validate({"status": ACTIVE}))).jobs:
        bars.show(job)
    async for heard in client.watch():
        bars.tell(heard.event)
