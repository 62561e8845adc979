"""How jobs that wait or run come to another state, many in one go."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from omma.domain.events import EventKind
from omma.domain.jobs import Failure, JobState, Json, attempt_folder
from omma.stores.records import leaving
from omma.stores.records.events import NewEvent, append_events
from omma.stores.records.locking import Queued
from omma.stores.records.sets import run_for


@dataclass(frozen=True, slots=True)
class Change:
    """Where a job goes from its queue: back to waiting, or to an end."""

    job: Queued
    state: JobState
    event: EventKind
    outcome: str  # of its attempt: completed, failed, released, cancelled
    failure: Failure | None = None
    retry_count: int = 0
    available_at: int | None = None  # of one that waits again
    result: Json | None = None
    metrics: Json | None = None
    has_files: bool = False


@dataclass(frozen=True, slots=True)
class Followers:
    """Who is told of jobs that end, beside their own callbacks."""

    default_callback: bool = False
    media_store: bool = False

    def calls_back(self, change: Change) -> bool:
        """Whether somebody waits to hear of this end; who cancels a job knows of it."""
        is_news = change.state in {JobState.COMPLETED, JobState.ERROR}
        return is_news and (self.default_callback or bool(change.job.callback_url))

    def posts(self, change: Change) -> bool:
        """Whether the media store is told the result."""
        is_done = change.state is JobState.COMPLETED
        return is_done and self.media_store and bool(change.job.media_store_id)


NOBODY = Followers()


async def apply(
    connection: AsyncConnection,
    now: int,
    changes: Sequence[Change],
    followers: Followers = NOBODY,
) -> None:
    """Bring locked jobs where ``changes`` say, with all that follows, and tell of it."""
    ended = [change.job.hold.job_id for change in changes if change.state.has_ended]
    again = [_queue_row(change) for change in changes if not change.state.has_ended]
    await run_for(connection, leaving.change_jobs, [_job_row(c, now) for c in changes])
    await run_for(connection, leaving.change_queue, again)
    await run_for(connection, leaving.leave_queue, ended)
    await _end_attempts(connection, now, [change for change in changes if change.job.is_running])
    await _tell_followers(connection, now, changes, followers)
    await append_events(connection, now, [_event(change) for change in changes])


def cancelled(job: Queued) -> Change:
    """Its end at a client's wish."""
    return Change(
        job, JobState.CANCELLED, EventKind.CANCELLED, "cancelled", retry_count=job.retry_count
    )


async def _end_attempts(connection: AsyncConnection, now: int, changes: Sequence[Change]) -> None:
    owned = [attempt_folder(change.job.hold) for change in changes if change.has_files]
    left = [attempt_folder(change.job.hold) for change in changes if not change.has_files]
    due = [{"name": folder, "at": now} for folder in left]
    await run_for(connection, leaving.change_attempts, [_attempt_row(c, now) for c in changes])
    await run_for(connection, leaving.forget_folders, owned)
    await run_for(connection, leaving.sweep_folders, due)


async def _tell_followers(
    connection: AsyncConnection, now: int, changes: Sequence[Change], followers: Followers
) -> None:
    called = [change for change in changes if followers.calls_back(change)]
    posted = [change for change in changes if followers.posts(change)]
    for statement, some in ((leaving.call_back, called), (leaving.post_results, posted)):
        due = [{"about": change.job.hold.job_id, "at": now} for change in some]
        await run_for(connection, statement, due)


def _job_row(change: Change, now: int) -> dict[str, Any]:
    failure = change.failure if change.state is JobState.ERROR else None
    return {
        "changed_id": change.job.hold.job_id,
        "state": change.state.value,
        "ended_at": now if change.state.has_ended else None,
        "retries": change.retry_count,
        "code": failure and failure.code,
        "why": failure and failure.message,
        "found": None if change.result is None else json.dumps(change.result),
        "measured": None if change.metrics is None else json.dumps(change.metrics),
        "with_files": change.has_files,
    }


def _queue_row(change: Change) -> dict[str, Any]:
    return {"changed_id": change.job.hold.job_id, "at": change.available_at}


def _attempt_row(change: Change, now: int) -> dict[str, Any]:
    return {
        "held_id": change.job.hold.job_id,
        "held_attempt": change.job.hold.attempt,
        "at": now,
        "how": change.outcome,
        "code": change.failure and change.failure.code,
        "why": change.failure and change.failure.message,
    }


def _event(change: Change) -> NewEvent:
    more: dict[str, Json] = {}
    if change.failure:
        more["failure"] = asdict(change.failure)
    if change.metrics is not None:
        more["metrics"] = change.metrics
    return change.job.event(change.event, change.state, **more)
