"""``/job`` and ``/jobs``: the jobs service's documented routes."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.exceptions import HTTPException

from omma.api.access import Owner, public_by_id, require
from omma.api.describe import JOB_BODY, KEY_PARAMETER, problems
from omma.api.job_answers import job_answer, job_page, written
from omma.api.options import ContextOf
from omma.api.orders import OrderLimits, read_order
from omma.domain.faces import Lane
from omma.domain.jobs import BatchId, JobFilter
from omma.domain.tokens import SUPPORT, Principal
from omma.services.intake import as_id
from omma.wire.jobs import JobAnswer, JobListAnswer, JobListParams

CREATED, NO_CONTENT, NOT_FOUND = HTTPStatus.CREATED, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND
BAD_REQUEST, CONFLICT = HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT
TOO_LARGE, UNSUPPORTED = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE

Asker = Annotated[Principal, Depends(require(SUPPORT))]
OwnerOf = Annotated[Principal, Depends(require(SUPPORT, owner=Owner.SUBJECT))]

router = APIRouter(tags=["jobs"])


@router.post(
    "/job/{task_type}",
    status_code=CREATED,
    response_model=JobAnswer,
    responses=problems(BAD_REQUEST, CONFLICT, TOO_LARGE, UNSUPPORTED),
    openapi_extra={**JOB_BODY, **KEY_PARAMETER},
)
async def create_job(
    request: Request, task_type: str, principal: Asker, context: ContextOf
) -> Response:
    """Ask for one job; the same Idempotency-Key answers the same job."""
    services = context.services
    operation = services.operations.get(task_type)
    if operation is None:
        names = ", ".join(services.operations)
        raise HTTPException(BAD_REQUEST, f"Invalid task_type. Must be one of {names}")
    # Its upload is in memory until the blob store has it.
    with context.admission.admit(Lane.JOB, images=0) as ticket:
        limits = OrderLimits(context.options.uploads, ticket)
        order = await read_order(request, principal, operation, limits)
        job = await services.jobs.submit(order)
    return written(job_answer(job), CREATED)


@router.get(
    "/job/{job_id}",
    response_model=JobAnswer,
    responses=problems(NOT_FOUND),
    dependencies=[Depends(public_by_id)],
)
async def read_job(job_id: str, context: ContextOf) -> Response:
    """Tell how a job stands and what came of it; who knows its id may ask."""
    return written(job_answer(await context.services.jobs.get(job_id)))


@router.delete("/job/{job_id}", status_code=NO_CONTENT, responses=problems(NOT_FOUND))
async def delete_job(job_id: str, principal: OwnerOf, context: ContextOf) -> Response:
    """Remove a job with its result and its files; one that runs is cancelled first."""
    await context.services.jobs.delete(principal, job_id)
    return Response(status_code=NO_CONTENT)


@router.post(
    "/job/{job_id}/cancel", response_model=JobAnswer, responses=problems(NOT_FOUND, CONFLICT)
)
async def cancel_job(job_id: str, principal: OwnerOf, context: ContextOf) -> Response:
    """End a job that waits or runs."""
    return written(job_answer(await context.services.jobs.cancel(principal, job_id)))


@router.post(
    "/job/{job_id}/retry", response_model=JobAnswer, responses=problems(NOT_FOUND, CONFLICT)
)
async def retry_job(job_id: str, principal: OwnerOf, context: ContextOf) -> Response:
    """Let a job that failed or was cancelled wait again; post a result again that did not go."""
    return written(job_answer(await context.services.jobs.retry(principal, job_id)))


@router.get("/jobs", response_model=JobListAnswer, responses=problems())
async def list_jobs(
    principal: OwnerOf, params: Annotated[JobListParams, Query()], context: ContextOf
) -> Response:
    """List your jobs, newest first, without their results; administrators see everybody's."""
    batch_id = as_id(params.batch) if params.batch else ""
    if batch_id is None:
        return written(JobListAnswer(jobs=[], next_cursor=None))  # no batch has such an id
    wanted = JobFilter(states=params.status, operation=params.task_type, batch_id=BatchId(batch_id))
    page = context.services.jobs.page(principal, wanted, cursor=params.cursor, limit=params.limit)
    return written(job_page(await page))
