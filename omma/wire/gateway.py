"""The gateway's queue and batches as its clients ask for and read them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

from omma.wire.events import GatewayState, ProgressData
from omma.wire.jobs import EntityRef, Key, MediaId, Moment, WebUrl

FIRST, LAST = 1, 10  # priorities: here 1 goes first
MAX_PAGE = 500


class ImagePayload(BaseModel):
    """An image's bytes within the JSON."""

    model_config = ConfigDict(frozen=True)

    data: str = Field(min_length=1, description="Base64, or a data URL in base64.")
    format: str = Field(default="jpeg", max_length=20, description="Not looked at: the bytes say.")


class ImageAt(BaseModel):
    """An image by its URL or by its id in the media store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: WebUrl | None = None
    media_store_id: MediaId | None = None


GatewayImage = ImagePayload | ImageAt | Annotated[str, Field(min_length=1)]


class QueueRequest(BaseModel):
    """One job as the gateway's clients ask for it; fields that it does not know are passed over."""

    model_config = ConfigDict(frozen=True)

    request_id: str | None = Field(default=None, max_length=200)
    client_id: str | None = Field(default=None, max_length=200)
    priority: int = Field(default=5, ge=FIRST, le=LAST, description="1 goes first.")
    timeout: float = Field(
        default=30, ge=5, le=300, description="Of an answer at once; a queued job has none."
    )
    entity: EntityRef | None = None
    image_data: ImagePayload | Annotated[str, Field(min_length=1)] | None = None
    images: Annotated[list[GatewayImage], FailFast()] = Field(  # wrong by the thousand, one is told
        default_factory=list[GatewayImage], description="Of a gallery, or of a scene."
    )
    url: WebUrl | None = None
    media_store_id: MediaId | None = None
    threshold: float = Field(default=0.5, ge=0, le=1)
    max_results: int = Field(default=5, ge=1, le=50)
    batch_job_id: str | None = Field(default=None, max_length=200)
    params: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="Of the operation: see /api/v1/operations."
    )
    callback_url: WebUrl | None = None
    scheduled_at: Moment | None = None
    idempotency_key: Key | None = None


class GatewayError(BaseModel):
    """What the gateway's routes answer that is not a success."""

    success: Literal[False] = False
    error: str
    code: str = Field(description="The HTTP status, as text.")
    timestamp: datetime
    error_code: str = Field(description="Stable; what programs should look at.")


class QueueSubmitted(BaseModel):
    """A job was taken."""

    success: Literal[True] = True
    job_id: str
    message: str


class QueueJobStatus(BaseModel):
    """A job as it stands."""

    job_id: str
    job_type: str
    status: GatewayState
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    progress: ProgressData | None
    result: dict[str, Any] | None = Field(description="Null in lists: ask for the job.")
    error: str | None


class BatchSubmitted(BaseModel):
    """Every job of a batch was taken."""

    success: Literal[True] = True
    batch_id: str
    job_id: str = Field(description="The same: what the documented route calls it.")
    total: int
    message: str


class BatchCancelled(BaseModel):
    """What a cancellation of a batch ended."""

    success: Literal[True] = True
    batch_id: str
    cancelled: int
    message: str


class BatchCounts(BaseModel):
    """Its jobs by their state."""

    pending: int
    processing: int
    completed: int
    failed: int
    cancelled: int


class BatchStatusParams(BaseModel):
    """Which of its jobs are listed."""

    model_config = ConfigDict(frozen=True)

    cursor: str = Field(default="", max_length=200, description="`next_cursor` of a page.")
    limit: int = Field(default=100, ge=0, le=MAX_PAGE, description="0 lists none.")


class BatchStatus(BaseModel):
    """How far a batch is."""

    success: Literal[True] = True
    batch_id: str
    job_type: str
    status: GatewayState
    created_at: datetime
    total: int
    counts: BatchCounts
    progress_percentage: float = Field(description="Of jobs that have ended.")
    items: list[QueueJobStatus] = Field(description="The last one first, without their results.")
    next_cursor: str | None
