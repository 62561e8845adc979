"""``/api/v1/queue``: the gateway's queue of single jobs."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from omma.api.access import Owner, public_by_id, require
from omma.api.base64_images import text_length
from omma.api.bodies import BodyLimits
from omma.api.describe import KEY_PARAMETER, json_body
from omma.api.gateway import (
    GatewayRoute,
    gateway_problems,
    hold_places,
    operation_of,
    read_order,
)
from omma.api.gateway_queue import queue_job
from omma.api.images import JSON_ENVELOPE_BYTES
from omma.api.job_answers import written
from omma.api.options import ContextOf
from omma.api.orders import with_key
from omma.api.reading import read_json
from omma.domain.faces import Lane
from omma.domain.jobs import Job
from omma.domain.tokens import SUPPORT, Principal
from omma.wire.gateway import QueueJobStatus, QueueRequest, QueueSubmitted

NOT_FOUND, CONFLICT = HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT
TOO_LARGE, UNSUPPORTED = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE

Asker = Annotated[Principal, Depends(require(SUPPORT))]
OwnerOf = Annotated[Principal, Depends(require(SUPPORT, owner=Owner.SUBJECT))]

router = APIRouter(prefix="/api/v1/queue", tags=["queue"], route_class=GatewayRoute)


@router.post(
    "/submit/{job_type}",
    response_model=QueueSubmitted,
    responses=gateway_problems(CONFLICT, TOO_LARGE, UNSUPPORTED),
    openapi_extra={**json_body(QueueRequest), **KEY_PARAMETER},
)
async def submit_to_queue(
    request: Request, job_type: str, principal: Asker, context: ContextOf
) -> Response:
    """Queue one job: image, gallery, scene, or the name of an operation."""
    operation = operation_of(job_type, context.services, principal)
    uploads = context.options.uploads
    with context.admission.admit(Lane.JOB, images=0) as ticket:
        envelope = text_length(uploads.max_request_bytes) - uploads.max_request_bytes
        limits = BodyLimits(
            uploads.max_request_bytes, uploads.pace, ticket, envelope + JSON_ENVELOPE_BYTES
        )
        wanted = await read_json(request, QueueRequest, limits)
        order = await read_order(wanted, job_type, operation, principal.subject, uploads.max_bytes)
        hold_places(ticket, order)
        job = await context.services.jobs.submit(with_key(request, order))
    return written(QueueSubmitted(job_id=job.job_id, message=f"{job_type} job queued"))


@router.get(
    "/status/{job_id}",
    response_model=QueueJobStatus,
    responses=gateway_problems(NOT_FOUND),
    dependencies=[Depends(public_by_id)],
)
async def read_queue_status(job_id: str, context: ContextOf) -> Response:
    """Tell how a job stands and what came of it; who knows its id may ask."""
    return written(status_of(await context.services.jobs.get(job_id)))


@router.post(
    "/cancel/{job_id}",
    response_model=QueueSubmitted,
    responses=gateway_problems(NOT_FOUND, CONFLICT),
)
async def cancel_in_queue(job_id: str, principal: OwnerOf, context: ContextOf) -> Response:
    """End a job that waits or runs."""
    job = await context.services.jobs.cancel(principal, job_id)
    return written(QueueSubmitted(job_id=job.job_id, message="Job cancelled"))


def status_of(job: Job, *, with_result: bool = True) -> QueueJobStatus:
    """A job in the gateway's words."""
    has_result = with_result and job.result is not None
    return QueueJobStatus(
        **queue_job(job).model_dump(),
        result=dict(job.result or {}) if has_result else None,
    )
