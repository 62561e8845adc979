"""Jobs and events in the words of the gateway's queue, where an error is called failed."""

from collections.abc import Mapping
from typing import Any

from omma.domain.events import Event, EventKind
from omma.domain.jobs import Job, JobState, Progress
from omma.services.overview import QueueStatus
from omma.wire.events import GatewayState, ProgressData, QueueJob, QueueStatusData

TOLD = frozenset(
    {
        EventKind.SUBMITTED,
        EventKind.PROGRESS,
        EventKind.COMPLETED,
        EventKind.FAILED,
        EventKind.CANCELLED,
    }
)
STATES: Mapping[JobState, GatewayState] = {
    JobState.PENDING: "pending",
    JobState.PROCESSING: "processing",
    JobState.COMPLETED: "completed",
    JobState.SYNC_FAILED: "completed",  # the gateway's clients know of no media store
    JobState.ERROR: "failed",
    JobState.CANCELLED: "cancelled",
}


def queue_status(status: QueueStatus) -> QueueStatusData:
    """What waits and runs, and what ended last."""
    return QueueStatusData(
        active_jobs=[queue_job(job) for job in status.active],
        active_jobs_count=status.active_count,
        recent_completed_jobs=[queue_job(job) for job in status.recent],
        timestamp=status.at,
    )


def update_data(event: Event) -> dict[str, Any]:
    """What a `queue_update` says of an event."""
    data = dict(event.data)
    if event.kind is EventKind.PROGRESS:
        return _progress(Progress(**data["progress"])).model_dump()
    if data.get("state") in set(JobState):
        data["state"] = STATES[JobState(data["state"])]
    return data


def queue_job(job: Job) -> QueueJob:
    """A job without its result."""
    return QueueJob(
        job_id=job.job_id,
        job_type=job_type(job),
        status=STATES[job.state],
        created_at=job.created_at,
        started_at=job.started_at,
        completed_at=job.completed_at,
        progress=_progress(job.progress) if job.progress else None,
        error=job.failure.message if job.failure else None,
    )


def job_type(job: Job) -> str:
    """What it was submitted as."""
    return job.asked.entity.asked_as or job.asked.operation


def _progress(progress: Progress) -> ProgressData:
    return ProgressData(
        current=progress.current,
        total=progress.total,
        progress_percentage=round(progress.percentage, 1),
        message=progress.message,
    )
