"""What happened to jobs, in one order that every reader sees alike."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from omma.domain.jobs import JobId, Json


class EventKind(StrEnum):
    """What can happen to a job; the words are those of the wire."""

    SUBMITTED = "job_submitted"
    STARTED = "job_started"
    PROGRESS = "job_progress"
    RETRYING = "job_retrying"
    COMPLETED = "job_completed"
    FAILED = "job_failed"
    CANCELLED = "job_cancelled"
    SYNC_FAILED = "job_sync_failed"
    DELETED = "job_deleted"


ENDING = frozenset(
    {EventKind.COMPLETED, EventKind.FAILED, EventKind.CANCELLED, EventKind.DELETED}
)  # no stream of one job has more to say


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; ``seq`` rises by commit, so who saw n has seen all below."""

    seq: int
    kind: EventKind
    job_id: JobId
    owner: str
    at: datetime
    data: Json  # operation, state, attempt; progress, failure or result metrics where they apply
