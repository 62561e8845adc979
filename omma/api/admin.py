"""``/admin``: how much there is, and its removal."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from omma.api import bodies
from omma.api.access import require
from omma.api.bodies import BodyLimits
from omma.api.describe import json_body, problems
from omma.api.disconnects import unless_disconnected
from omma.api.job_answers import written
from omma.api.options import Context, ContextOf
from omma.api.reading import read_json
from omma.domain.faces import Lane
from omma.domain.jobs import JobState
from omma.domain.tokens import Principal
from omma.services.jobs import ENDED, Cleanup
from omma.wire.jobs import CleanupAnswer, CleanupRequest, StatsAnswer, StorageStats

MAX_JSON_BYTES = 4096
BYTES_PER_MB = 1024 * 1024
TOO_LARGE, UNSUPPORTED = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE

Admin = Annotated[Principal, Depends(require(admin=True))]

router = APIRouter(prefix="/admin", tags=["admin"])


@router.get("/stats", response_model=StatsAnswer, responses=problems())
async def read_stats(_principal: Admin, context: ContextOf) -> Response:
    """Count the jobs by state, and the bytes of all files, half a minute old at most."""
    stats = await context.services.jobs.stats()
    by_state = {state: stats.counts.by_state.get(state, 0) for state in JobState}
    storage = StorageStats(
        total_jobs=sum(by_state.values()),
        disk_usage_mb=round(stats.disk_usage_bytes / BYTES_PER_MB, 3),
    )
    return written(StatsAnswer(queue_size=stats.counts.queued, jobs=by_state, storage=storage))


@router.delete(
    "/cleanup",
    response_model=CleanupAnswer,
    responses=problems(TOO_LARGE, UNSUPPORTED),
    openapi_extra=json_body(CleanupRequest, required=False),
)
async def clean_up(request: Request, _principal: Admin, context: ContextOf) -> Response:
    """Remove jobs with their results, files and places in the queue; without a body, all ended."""
    wanted = await _wanted(request, context)
    work = context.services.jobs.clean(_cleanup(wanted))
    removed = await unless_disconnected(request, work)
    return written(
        CleanupAnswer(
            jobs_deleted=removed.jobs,
            files_deleted=removed.files,
            queue_entries_removed=removed.queue_entries,
        )
    )


async def _wanted(request: Request, context: Context) -> CleanupRequest:
    if bodies.is_empty(request):
        await request.body()
        return CleanupRequest()
    with context.admission.admit(Lane.JOB, images=0) as ticket:
        limits = BodyLimits(MAX_JSON_BYTES, context.options.uploads.pace, ticket)
        return await read_json(request, CleanupRequest, limits)


def _cleanup(wanted: CleanupRequest) -> Cleanup:
    match wanted.status:
        case None:
            states = ENDED
        case "all":
            states = frozenset(JobState)
        case status:
            states = frozenset({JobState(status)})
    return Cleanup(
        states,
        wanted.older_than_seconds,
        with_results=wanted.remove_results,
        with_queued=wanted.remove_queue,
        with_orphans=wanted.remove_orphaned_files,
    )
