"""Jobs in the words of the jobs service."""

from datetime import datetime
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from omma.domain.jobs import Job, JobPage, Progress
from omma.wire.jobs import JobAnswer, JobListAnswer, JobProgress, JobSummary


def written(answer: BaseModel, status: int = 200) -> Response:
    """What is not known is null: clients of the documented shapes read every field."""
    return Response(answer.model_dump_json(), status, media_type="application/json")


def job_answer(job: Job) -> JobAnswer:
    """A job with its result."""
    result = None if job.result is None else dict(job.result)
    return JobAnswer.model_construct(**_fields(job), result=result)


def job_page(page: JobPage) -> JobListAnswer:
    """Some jobs without their results."""
    jobs = [JobSummary.model_construct(**_fields(job)) for job in page.jobs]
    return JobListAnswer(jobs=jobs, next_cursor=page.next_cursor or None)


def _fields(job: Job) -> dict[str, Any]:
    asked, failure = job.asked, job.failure
    return {
        "job_id": job.job_id,
        "task_type": asked.operation,
        "media_store_id": asked.media_store_id or None,
        "status": job.state.value,
        "priority": asked.priority,
        "created_at": _ms(job.created_at),
        "started_at": _ms(job.started_at),
        "completed_at": _ms(job.completed_at),
        "error_message": failure.message if failure else None,
        "error_code": failure.code if failure else None,
        "retry_count": job.retry_count,
        "scheduled_at": _ms(asked.not_before),
        "batch_id": asked.batch_id or None,
        "progress": _progress(job.progress) if job.progress else None,
    }


def _progress(progress: Progress) -> JobProgress:
    return JobProgress(
        current=progress.current,
        total=progress.total,
        percentage=round(progress.percentage, 1),
        message=progress.message,
    )


def _ms(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)
