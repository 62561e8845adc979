"""Jobs as the jobs service's clients ask for them and read them. Times are milliseconds."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from omma.domain.jobs import DEFAULT_PRIORITY, MAX_PRIORITY, MIN_PRIORITY, EntityKind, JobState

LAST_MS = 253_402_300_799_000  # the end of the year 9999
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
MAX_PAGE = 200


def _is_web(url: str) -> str:
    """Whether it could be fetched is seen when it is."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web or not url.isprintable() or " " in url:
        raise ValueError("expected an http or https URL")
    return url


def _as_milliseconds_say(at: datetime) -> datetime:
    """Within the same bounds, and within what every time zone can say."""
    if not EARLIEST <= at <= LATEST:
        raise ValueError("expected a time from 1970 to 9999-12-31T23:59:59, in UTC")
    return at


def _split(value: Any) -> Any:
    """``status=a,b`` means the same as ``status=a&status=b``."""
    parts = [value] if isinstance(value, str) else value
    return [word.strip() for part in parts for word in str(part).split(",") if word.strip()]


WebUrl = Annotated[str, Field(min_length=1, max_length=8192), AfterValidator(_is_web)]
MediaId = Annotated[str, Field(min_length=1, max_length=200)]
Key = Annotated[str, Field(min_length=1, max_length=200)]
Moment = Annotated[
    Annotated[int, Field(ge=0, le=LAST_MS)]
    | Annotated[AwareDatetime, AfterValidator(_as_milliseconds_say)],
    Field(union_mode="left_to_right", description="Milliseconds since 1970, or ISO 8601."),
]
Status = Literal["pending", "processing", "completed", "error", "cancelled", "sync_failed"]


class EntityRef(BaseModel):
    """The thing in the client's collection that a job is about."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(default="", max_length=200)
    type: EntityKind = EntityKind.IMAGE
    title: str | None = Field(default=None, max_length=1000)
    path: str | None = Field(default=None, max_length=4000)
    metadata: dict[str, Any] | None = Field(default=None, description="Read, and not kept.")


class JobRequest(BaseModel):
    """One job: its image is what ``url`` names, or the media of ``media_store_id``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    media_store_id: MediaId | None = Field(
        default=None, description="Also where the result is posted; it has one job at a time."
    )
    url: WebUrl | None = Field(default=None, description="On a public address.")
    priority: int = Field(
        default=DEFAULT_PRIORITY, ge=MIN_PRIORITY, le=MAX_PRIORITY, description="10 goes first."
    )
    callback_url: WebUrl | None = Field(default=None, description="Told when the job has ended.")
    params: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="Of the operation: see /api/v1/operations."
    )
    scheduled_at: Moment | None = Field(default=None, description="Not before that time.")
    idempotency_key: Key | None = Field(
        default=None, description="The same key answers the same job; or Idempotency-Key."
    )
    entity: EntityRef | None = None


class JobProgress(BaseModel):
    """How far a job is: in images, or in what the message says where it takes none."""

    current: int
    total: int
    percentage: float
    message: str


class JobSummary(BaseModel):
    """A job without its result."""

    job_id: str
    task_type: str
    media_store_id: str | None
    status: Status
    priority: int
    created_at: int
    started_at: int | None
    completed_at: int | None
    error_message: str | None
    error_code: str | None
    retry_count: int
    scheduled_at: int | None
    batch_id: str | None
    progress: JobProgress | None


class JobAnswer(JobSummary):
    """A job as it stands."""

    result: dict[str, Any] | None


class JobListParams(BaseModel):
    """Which jobs a list shows."""

    model_config = ConfigDict(frozen=True)

    status: Annotated[tuple[JobState, ...], BeforeValidator(_split)] = Field(
        default=(), description="Of these alone, repeated or separated by commas."
    )
    task_type: str = Field(default="", max_length=100)
    batch: str = Field(default="", max_length=36, description="The id of a batch.")
    cursor: str = Field(default="", max_length=200, description="`next_cursor` of a page.")
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)


class JobListAnswer(BaseModel):
    """Some jobs, newest first."""

    jobs: list[JobSummary]
    next_cursor: str | None = Field(description="Null after the last page.")


class CleanupRequest(BaseModel):
    """Which jobs and files are to go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    older_than_seconds: float | None = Field(
        default=None, ge=0, le=LAST_MS, description="Since their creation."
    )
    status: Status | Literal["all"] | None = Field(
        default=None, description="Null means every job that has ended; `all` means all."
    )
    remove_results: bool = Field(
        default=True, description="False spares the jobs that have a result."
    )
    remove_queue: bool = Field(default=True, description="False spares jobs that wait or run.")
    remove_orphaned_files: bool = Field(
        default=False, description="Also files that belong to no job."
    )


class CleanupAnswer(BaseModel):
    """What went."""

    jobs_deleted: int
    files_deleted: int
    queue_entries_removed: int


class StorageStats(BaseModel):
    """What is kept."""

    total_jobs: int
    disk_usage_mb: float


class StatsAnswer(BaseModel):
    """How much there is."""

    queue_size: int
    jobs: dict[JobState, int]
    storage: StorageStats
