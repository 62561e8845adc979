"""Events as streams and sockets tell them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from omma.domain.events import EventKind

HIGHEST_ID = 2**62


def _split(value: Any) -> Any:
    """``kind=a,b`` means the same as ``kind=a&kind=b``."""
    parts = [value] if isinstance(value, str) else value
    return [word.strip() for part in parts for word in str(part).split(",") if word.strip()]


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


EventPlace = Annotated[
    Annotated[int, Field(ge=0, le=HIGHEST_ID)] | None, BeforeValidator(_none_if_empty)
]


class JobStreamParams(BaseModel):
    """The query of one job's stream."""

    model_config = ConfigDict(frozen=True)

    last_event_id: EventPlace = Field(
        default=None, description="For clients that cannot send Last-Event-ID; that goes first."
    )


class StreamParams(JobStreamParams):
    """The query of the stream of all events."""

    job_id: str = Field(default="", max_length=36, description="Of this job alone.")
    kind: Annotated[tuple[EventKind, ...], BeforeValidator(_split)] = Field(
        default=(), description="Of these kinds alone, repeated or separated by commas."
    )


class StreamedEvent(BaseModel):
    """What one event of a stream has under ``data:``."""

    event: EventKind
    data: dict[str, Any] = Field(
        description="operation, state and attempt; progress, failure or metrics where they apply."
    )
    job_id: str
    timestamp: int = Field(description="Milliseconds since 1970.")


GatewayState = Literal["pending", "processing", "completed", "failed", "cancelled"]


class ProgressData(BaseModel):
    """How far a job is, as the gateway's clients read it."""

    current: int
    total: int
    progress_percentage: float
    message: str


class QueueJob(BaseModel):
    """One job of a queue's status."""

    job_id: str
    job_type: str
    status: GatewayState
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    progress: ProgressData | None = None
    error: str | None = None


class QueueStatusData(BaseModel):
    """What waits and runs, and what ended last."""

    active_jobs: list[QueueJob]
    active_jobs_count: int
    recent_completed_jobs: list[QueueJob]
    timestamp: datetime


class QueueStatusMessage(BaseModel):
    """Sent on connection, when asked for, and when the queue has come to rest."""

    type: Literal["queue_status"] = "queue_status"
    data: QueueStatusData


class QueueUpdateMessage(BaseModel):
    """Sent for every event that the gateway's clients know."""

    type: Literal["queue_update"] = "queue_update"
    event: EventKind
    job_id: str
    data: dict[str, Any]
    queue_status: QueueStatusData


class PongMessage(BaseModel):
    """Answers a ping."""

    type: Literal["pong"] = "pong"


class CancelMessage(BaseModel):
    """Answers a cancellation."""

    type: Literal["cancel_response"] = "cancel_response"
    job_id: str
    success: bool
    message: str


class ErrorMessage(BaseModel):
    """Answers what was not understood."""

    type: Literal["error"] = "error"
    message: str


class Command(BaseModel):
    """What a client of the socket may say, as JSON."""

    model_config = ConfigDict(frozen=True)

    type: Literal["ping", "get_status", "cancel_job"]
    job_id: str = ""
