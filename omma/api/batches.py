"""``/api/v1/batch``: up to ten thousand jobs in one request."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError

from omma.api import bodies
from omma.api.access import Owner, require
from omma.api.base64_images import text_length
from omma.api.bodies import BodyLimits, Turns
from omma.api.describe import BATCH_ITEMS
from omma.api.gateway import GatewayRoute, gateway_problems, operation_of, read_order
from omma.api.gateway_queue import STATES, job_type
from omma.api.images import JSON
from omma.api.items import json_items, line_items
from omma.api.job_answers import written
from omma.api.options import Context, ContextOf
from omma.api.queue import status_of
from omma.api.reading import mistakes
from omma.domain.errors import InvalidInput, OmmaError, UnsupportedMediaType
from omma.domain.faces import Lane
from omma.domain.jobs import Batch, JobPage
from omma.domain.tokens import SUPPORT, Principal
from omma.services.batches import at_item
from omma.services.intake import Order
from omma.wire.events import GatewayState
from omma.wire.gateway import (
    BatchCancelled,
    BatchCounts,
    BatchStatus,
    BatchStatusParams,
    BatchSubmitted,
    QueueRequest,
)

LINES = {"application/x-ndjson", "application/jsonl", "application/x-jsonlines"}
ITEM_ENVELOPE_BYTES = 64 * 1024
MAX_BATCH_BYTES = 16 * 1024**3  # read as it comes: what counts is the size of each item
CHUNKS_HELD = 3  # an item as text, as bytes, and what came after it

END = object()  # null is an item, though a wrong one

CONFLICT = HTTPStatus.CONFLICT
NOT_FOUND = HTTPStatus.NOT_FOUND
TOO_LARGE, UNSUPPORTED = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE

Asker = Annotated[Principal, Depends(require(SUPPORT))]
OwnerOf = Annotated[Principal, Depends(require(SUPPORT, owner=Owner.SUBJECT))]
Kind = Annotated[
    str, Query(alias="type", max_length=100, description="Of every item; or before `items`.")
]

router = APIRouter(prefix="/api/v1/batch", tags=["queue"], route_class=GatewayRoute)


@router.post(
    "/submit",
    response_model=BatchSubmitted,
    responses=gateway_problems(CONFLICT, TOO_LARGE, UNSUPPORTED),
    openapi_extra=BATCH_ITEMS,
)
async def submit_batch(
    request: Request, principal: Asker, context: ContextOf, kind: Kind = ""
) -> Response:
    """Queue every item, or none: one that is wrong refuses them all, with its place."""
    max_item = text_length(context.options.uploads.max_bytes) + ITEM_ENVELOPE_BYTES
    with context.admission.admit(Lane.JOB) as ticket:
        limits = BodyLimits(
            MAX_BATCH_BYTES,
            context.options.uploads.pace,
            ticket,
            window_bytes=CHUNKS_HELD * max_item,
        )
        kinds = [kind] if kind else []
        items = _items(request, limits, max_item, kinds)
        first = await anext(items, END)
        if not kinds:
            raise InvalidInput("expected a type: in the query, or in the object before its items")
        operation = operation_of(kinds[0], context.services, principal)
        orders = _orders(first, items, (kinds[0], operation, principal.subject), context)
        batch = await context.services.jobs.batches.submit(principal.subject, operation, orders)
    return written(
        BatchSubmitted(
            batch_id=batch.batch_id,
            job_id=batch.batch_id,
            total=batch.total,
            message=f"{batch.total} {kinds[0]} jobs queued",
        )
    )


def _items(
    request: Request, limits: BodyLimits, max_item: int, kinds: list[str]
) -> AsyncIterator[Any]:
    chunks = bodies.chunks(request, limits)
    match bodies.media_type(request):
        case kind if kind == JSON:
            return json_items(chunks, max_item, kinds)
        case kind if kind in LINES:
            return line_items(chunks, max_item)
        case kind:
            raise UnsupportedMediaType(f"expected {JSON} or application/x-ndjson, got {kind!r}")


async def _orders(
    first: Any, rest: AsyncIterator[Any], what: tuple[str, str, str], context: Context
) -> AsyncIterator[Order]:
    """Every item as an order; its error says at which item it was."""
    index, item, turns = 0, first, Turns()
    while item is not END:
        yield await _order(index, item, what, context)
        await turns.take()
        index, item = index + 1, await anext(rest, END)


async def _order(index: int, item: Any, what: tuple[str, str, str], context: Context) -> Order:
    most = context.options.uploads.max_bytes
    try:
        wanted = QueueRequest.model_validate(item)
        if wanted.idempotency_key:
            raise InvalidInput("expected no idempotency_key: a batch is taken as a whole")
        return await read_order(wanted, *what, most)
    except ValidationError as error:
        raise at_item(index, InvalidInput(mistakes(error))) from None
    except OmmaError as error:
        raise at_item(index, error) from None


@router.get(
    "/{batch_id}/status",
    response_model=BatchStatus,
    responses=gateway_problems(NOT_FOUND),
)
async def read_batch(
    batch_id: str,
    principal: OwnerOf,
    params: Annotated[BatchStatusParams, Query()],
    context: ContextOf,
) -> Response:
    """Count the jobs of a batch by state, and list some of them."""
    batches = context.services.jobs.batches
    batch = await batches.get(principal, batch_id)
    page = await batches.items(batch, cursor=params.cursor, limit=max(1, params.limit))
    kind = job_type(page.jobs[0]) if page.jobs else batch.operation
    return written(_status(batch, kind, page if params.limit else JobPage(())))


@router.post(
    "/{batch_id}/cancel",
    response_model=BatchCancelled,
    responses=gateway_problems(NOT_FOUND),
)
async def cancel_batch(batch_id: str, principal: OwnerOf, context: ContextOf) -> Response:
    """End every job of a batch that waits or runs."""
    cancelled = await context.services.jobs.batches.cancel(principal, batch_id)
    return written(
        BatchCancelled(
            batch_id=batch_id, cancelled=cancelled, message=f"{cancelled} jobs cancelled"
        )
    )


def _status(batch: Batch, kind: str, page: JobPage) -> BatchStatus:
    counts = _counts(batch)
    ended = counts.completed + counts.failed + counts.cancelled
    return BatchStatus(
        batch_id=batch.batch_id,
        job_type=kind,
        status=_state(counts, batch.total),
        created_at=batch.created_at,
        total=batch.total,
        counts=counts,
        progress_percentage=round(100 * ended / batch.total, 1) if batch.total else 0.0,
        items=[status_of(job, with_result=False) for job in page.jobs],
        next_cursor=page.next_cursor or None,
    )


def _counts(batch: Batch) -> BatchCounts:
    counts = dict.fromkeys(BatchCounts.model_fields, 0)
    for state, count in batch.by_state.items():
        counts[STATES[state]] += count
    return BatchCounts(**counts)


def _state(counts: BatchCounts, total: int) -> GatewayState:
    """Of the whole: completed as soon as one job is, when all have ended."""
    if counts.pending == total:
        return "pending"
    if counts.pending or counts.processing:
        return "processing"
    if counts.completed:
        return "completed"
    return "failed" if counts.failed else "cancelled"
