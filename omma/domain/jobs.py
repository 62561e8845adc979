"""Durable work: what is asked for, where it stands, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

JobId = NewType("JobId", str)  # a random UUID: who knows it may read the job
BatchId = NewType("BatchId", str)
Json = Mapping[str, Any]

MIN_PRIORITY, DEFAULT_PRIORITY, MAX_PRIORITY = 0, 5, 10  # 10 goes first


class JobState(StrEnum):
    """Where a job stands; the words are those of the wire."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"
    SYNC_FAILED = "sync_failed"  # completed, but the media store did not take the result

    @property
    def has_ended(self) -> bool:
        """Whether no runner will touch it again of itself."""
        return self not in {JobState.PENDING, JobState.PROCESSING}


class EntityKind(StrEnum):
    """What a request is about, in the words of a media collection."""

    IMAGE = "image"
    GALLERY = "gallery"
    SCENE = "scene"
    PERFORMER = "performer"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Entity:
    """The thing in the client's collection that a job is about."""

    kind: EntityKind = EntityKind.IMAGE
    id: str = ""
    title: str = ""
    path: str = ""
    asked_as: str = ""  # the gateway's type that the job was submitted as, if it has one


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where an image lies; exactly one field is set."""

    media_store_id: str = ""
    url: str = ""
    blob: str = ""  # a path in the blob store, of an upload


@dataclass(frozen=True, slots=True)
class Submission:
    """Everything a client asks for in one job."""

    job_id: JobId
    operation: str
    images: tuple[ImageRef, ...]
    owner: str  # the token's subject
    params: Json = field(default_factory=dict[str, Any])  # of the operation, beside its images
    priority: int = DEFAULT_PRIORITY
    max_retries: int = 3
    entity: Entity = Entity()
    media_store_id: str = ""  # what duplicates are told by, and results are posted under
    idempotency_key: str = ""  # per owner: the same key answers the same job
    not_before: datetime | None = None
    callback_url: str = ""
    batch_id: BatchId = BatchId("")
    position: int = 0  # in its batch


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: in images, or in what the message says where it takes none."""

    current: int
    total: int
    message: str = ""

    @property
    def percentage(self) -> float:
        """From 0 to 100."""
        return 100 * self.current / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt or a job failed: an error's code and its message."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the records have it."""

    asked: Submission
    state: JobState
    created_at: datetime
    started_at: datetime | None = None  # for the first time, of all its attempts
    completed_at: datetime | None = None
    attempt: int = 0  # of the last claim; every write of a runner names it
    retry_count: int = 0
    failure: Failure | None = None
    result: Json | None = None
    metrics: Json | None = None  # what its operation counts of a result
    progress: Progress | None = None

    @property
    def job_id(self) -> JobId:
        """Its id."""
        return self.asked.job_id


@dataclass(frozen=True, slots=True)
class Hold:
    """One runner's right to one job: void as soon as the job has another attempt or has ended."""

    job_id: JobId
    attempt: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a runner holds until its lease ends."""

    job: Job
    hold: Hold


@dataclass(frozen=True, slots=True)
class Completed:
    """A job's result, ready to be recorded; its files lie under the attempt already."""

    hold: Hold
    result: Json
    metrics: Json = field(default_factory=dict[str, Any])
    has_files: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an attempt came to nothing; ``delay_s`` until the next, None where none would help."""

    hold: Hold
    failure: Failure
    delay_s: float | None
    counts: bool = True  # as one of its retries; not where something outside was away


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant; an empty field means any."""

    owner: str = ""
    states: tuple[JobState, ...] = ()
    operation: str = ""
    batch_id: BatchId = BatchId("")
    older_than_s: float | None = None  # since their creation


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first, and where the next page begins; empty after the last."""

    jobs: tuple[Job, ...]
    next_cursor: str = ""


@dataclass(frozen=True, slots=True)
class Removed:
    """What a deletion took away."""

    jobs: int = 0
    files: int = 0
    queue_entries: int = 0
    job_ids: tuple[JobId, ...] = ()  # whose files are due to be swept


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs there are, by state, and how many of them wait."""

    by_state: Mapping[JobState, int]
    queued: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Many jobs of one request, counted by state."""

    batch_id: BatchId
    owner: str
    operation: str
    created_at: datetime
    total: int
    by_state: Mapping[JobState, int]


def attempt_folder(hold: Hold) -> str:
    """Where an attempt puts its files; nobody reads them there but whoever moves them on."""
    return f"attempts/{hold.job_id}/{hold.attempt}"


def result_folder(job_id: JobId) -> str:
    """Where a job's files lie in the end: the documented path."""
    return f"jobs/{job_id}"


def upload_folder(job_id: JobId) -> str:
    """Where a job's uploaded images lie until it is deleted."""
    return f"uploads/{job_id}"
