"""How a job is written down, and read again."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, Row, String, Text, false, null
from sqlalchemy.types import TypeEngine

from omma.domain.jobs import (
    BatchId,
    Entity,
    EntityKind,
    Failure,
    ImageRef,
    Job,
    JobFilter,
    JobId,
    JobState,
    Json,
    Progress,
    Submission,
    upload_folder,
)
from omma.stores.records.database import from_ms, to_ms
from omma.stores.records.tables import jobs

SUBMITTED: Mapping[str, TypeEngine[Any]] = {  # the columns of `jobs` that a submission fills
    "job_id": String(),
    "task_type": String(),
    "media_store_id": String(),
    "status": String(),
    "created_at": BigInteger(),
    "max_retries": Integer(),
    "created_by": String(),
    "priority": Integer(),
    "images": Text(),
    "params": Text(),
    "entity": Text(),
    "idempotency_key": String(),
    "not_before": BigInteger(),
    "callback_url": Text(),
    "batch_id": String(),
    "position": Integer(),
}


RESULTS = frozenset({"result", "metrics"})  # megabytes, which no listing shows
LISTED: Sequence[ColumnElement[Any]] = tuple(
    null().label(column.name) if column.name in RESULTS else column for column in jobs.c
)


def to_row(asked: Submission, now: int) -> dict[str, Any]:
    """The row of a new job, whose other columns have defaults."""
    return {
        "job_id": asked.job_id,
        "task_type": asked.operation,
        "media_store_id": asked.media_store_id,
        "status": JobState.PENDING.value,
        "created_at": now,
        "max_retries": asked.max_retries,
        "created_by": asked.owner,
        "priority": asked.priority,
        "images": json.dumps([_named(ref) for ref in asked.images]),
        "params": json.dumps(asked.params),
        "entity": json.dumps(asdict(asked.entity)),
        "idempotency_key": asked.idempotency_key or None,
        "not_before": to_ms(asked.not_before) if asked.not_before else None,
        "callback_url": asked.callback_url,
        "batch_id": asked.batch_id or None,
        "position": asked.position,
    }


def to_job(row: Row[Any]) -> Job:
    """The job of a whole row of `jobs`."""
    return Job(
        asked=_submission(row),
        state=JobState(row.status),
        created_at=from_ms(row.created_at),
        started_at=None if row.started_at is None else from_ms(row.started_at),
        completed_at=None if row.completed_at is None else from_ms(row.completed_at),
        attempt=row.attempt,
        retry_count=row.retry_count,
        failure=Failure(row.error_code, row.error_message) if row.error_code else None,
        result=_read(row.result),
        metrics=_read(row.metrics),
        progress=Progress(**json.loads(row.progress)) if row.progress else None,
    )


async def to_jobs(rows: Sequence[Row[Any]]) -> list[Job]:
    """The jobs of many rows of `LISTED`; read in a thread, for parameters may be long."""
    return await asyncio.to_thread(lambda: list(map(to_job, rows)))


def conditions(wanted: JobFilter, now: ColumnElement[int]) -> list[ColumnElement[bool]]:
    """What rows of `jobs` must be to be meant."""
    columns = {
        jobs.c.created_by: wanted.owner,
        jobs.c.task_type: wanted.operation,
        jobs.c.batch_id: wanted.batch_id,
    }
    found = [_is(column, value) for column, value in columns.items() if value]
    if wanted.states:
        found.append(jobs.c.status.in_([state.value for state in wanted.states]))
    if wanted.older_than_s is not None:
        found.append(jobs.c.created_at < now - round(wanted.older_than_s * 1000))
    return found


def _is(column: ColumnElement[str | None], text: str) -> ColumnElement[bool]:
    """What databases refuse to compare with is in none of their rows."""
    return column == text if clean(text) == text else false()


def as_recorded(asked: Submission) -> Submission:
    """The submission as it will be read again: JSON's types, whole milliseconds."""
    not_before = from_ms(to_ms(asked.not_before)) if asked.not_before else None
    return replace(asked, params=json.loads(json.dumps(asked.params)), not_before=not_before)


def is_same_request(asked: Submission, known: Submission) -> bool:
    """Whether both ask for the same, whatever ids they were given.

    Uploads go by their names, which tell their content where there is a key.
    """
    return _without_ids(as_recorded(asked)) == _without_ids(as_recorded(known))


def is_recordable(asked: Submission) -> bool:
    """Whether every text of it is one that databases keep: no NUL, no half of a character."""
    fields = (asked.owner, asked.operation, asked.media_store_id, asked.idempotency_key)
    return all(clean(text) == text for text in (*fields, asked.callback_url))


def clean(text: str) -> str:
    """The text with what databases refuse replaced by question marks."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def _without_ids(asked: Submission) -> Submission:
    folder = upload_folder(asked.job_id)
    images = tuple(replace(ref, blob=ref.blob.removeprefix(folder)) for ref in asked.images)
    return replace(asked, job_id=JobId(""), batch_id=BatchId(""), position=0, images=images)


def _named(ref: ImageRef) -> dict[str, str]:
    return {name: value for name, value in asdict(ref).items() if value}


def _submission(row: Row[Any]) -> Submission:
    entity = json.loads(row.entity)
    return Submission(
        job_id=JobId(row.job_id),
        operation=row.task_type,
        images=tuple(ImageRef(**ref) for ref in json.loads(row.images)),
        owner=row.created_by,
        params=json.loads(row.params),
        priority=row.priority,
        max_retries=row.max_retries,
        entity=Entity(**{**entity, "kind": EntityKind(entity["kind"])}),
        media_store_id=row.media_store_id,
        idempotency_key=row.idempotency_key or "",
        not_before=None if row.not_before is None else from_ms(row.not_before),
        callback_url=row.callback_url,
        batch_id=BatchId(row.batch_id or ""),
        position=row.position,
    )


def _read(text: str | None) -> Json | None:
    return None if text is None else json.loads(text)
