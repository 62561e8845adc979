"""``/api/v1/indexes``: what is served, and for administrators what is to be."""

from http import HTTPStatus
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel

from omma.api import bodies
from omma.api.access import require
from omma.api.bodies import BodyLimits
from omma.api.describe import json_body, problems
from omma.api.index_answers import index_answer, index_summary, snapshot_answer
from omma.api.job_answers import job_answer, written
from omma.api.options import Context, ContextOf
from omma.api.reading import read_json
from omma.domain.errors import IndexNotFound, SnapshotNotFound
from omma.domain.faces import Lane
from omma.domain.indexes import Published
from omma.domain.tokens import SUPPORT, Principal
from omma.services.publishing import IndexService, Wish
from omma.wire.indexes import (
    IndexAnswer,
    IndexesAnswer,
    PublishedAnswer,
    PublishRequest,
    RebuildRequest,
    RollbackRequest,
    SnapshotAnswer,
)
from omma.wire.jobs import JobAnswer

MAX_JSON_BYTES = 4096
ACCEPTED, NOT_FOUND, CONFLICT = HTTPStatus.ACCEPTED, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT
TOO_LARGE, UNSUPPORTED = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
CHANGES = problems(NOT_FOUND, CONFLICT, TOO_LARGE, UNSUPPORTED)

Admin = Annotated[Principal, Depends(require(admin=True))]
Name = Annotated[str, Path(max_length=100, description="Of the index.")]
Body = TypeVar("Body", bound=BaseModel)

router = APIRouter(prefix="/api/v1/indexes", tags=["indexes"])


@router.get(
    "",
    response_model=IndexesAnswer,
    responses=problems(),
    dependencies=[Depends(require(SUPPORT))],
)
async def list_indexes(context: ContextOf) -> Response:
    """List the indexes, and what is published of each."""
    indexes = context.services.indexes
    states = await indexes.listed() if indexes else []
    return written(IndexesAnswer(indexes=[index_summary(state) for state in states]))


@router.get(
    "/{name}",
    response_model=IndexAnswer,
    responses=problems(NOT_FOUND),
    dependencies=[Depends(require(SUPPORT))],
)
async def read_index(name: Name, context: ContextOf) -> Response:
    """Show an index with its snapshots, the newest first, and who serves which."""
    return written(index_answer(await _indexes(context, name).show(name)))


@router.get(
    "/{name}/snapshots/{version}",
    response_model=SnapshotAnswer,
    responses=problems(NOT_FOUND),
    dependencies=[Depends(require(SUPPORT))],
)
async def read_snapshot(name: Name, version: str, context: ContextOf) -> Response:
    """Show one snapshot, and how it was made and judged."""
    state = await _indexes(context, name).show(name)
    for snapshot in state.snapshots:
        if snapshot.version == version:
            return written(snapshot_answer(snapshot, state.servings))
    raise SnapshotNotFound(f"{name} has no snapshot {version[:200]!r}")


@router.post(
    "/{name}/rebuild",
    status_code=ACCEPTED,
    response_model=JobAnswer,
    responses=CHANGES,
    openapi_extra=json_body(RebuildRequest, required=False),
)
async def rebuild_index(
    request: Request, name: Name, principal: Admin, context: ContextOf
) -> Response:
    """Rebuild an index by a job; while one waits or runs, that one is answered."""
    wanted = await _body(request, RebuildRequest, context)
    wish = Wish(name, force=wanted.force, dry_run=wanted.dry_run)
    job = await _indexes(context, name).rebuild(principal, wish)
    return written(job_answer(job), ACCEPTED)


@router.post(
    "/{name}/publish",
    response_model=PublishedAnswer,
    responses=CHANGES,
    openapi_extra=json_body(PublishRequest),
)
async def publish_snapshot(
    request: Request, name: Name, _principal: Admin, context: ContextOf
) -> Response:
    """Let a snapshot be served; replicas swap to it within seconds, without a pause."""
    with context.admission.admit(Lane.JOB, images=0) as ticket:
        limits = BodyLimits(MAX_JSON_BYTES, context.options.uploads.pace, ticket)
        wanted = await read_json(request, PublishRequest, limits)
    published = await _indexes(context, name).publish(
        name, wanted.version, force=wanted.force, expected=wanted.expected_sequence
    )
    return _published(name, published)


@router.post(
    "/{name}/rollback",
    response_model=PublishedAnswer,
    responses=CHANGES,
    openapi_extra=json_body(RollbackRequest, required=False),
)
async def roll_back(
    request: Request, name: Name, _principal: Admin, context: ContextOf
) -> Response:
    """Let the snapshot be served that was published before this one."""
    wanted = await _body(request, RollbackRequest, context)
    indexes = _indexes(context, name)
    return _published(name, await indexes.rollback(name, expected=wanted.expected_sequence))


def _published(name: str, published: Published) -> Response:
    return written(
        PublishedAnswer(index=name, version=published.version, sequence=published.sequence)
    )


def _indexes(context: Context, name: str) -> IndexService:
    if context.services.indexes is None:
        raise IndexNotFound(f"no index named {name!r}: none is served")
    return context.services.indexes


async def _body(request: Request, shape: type[Body], context: Context) -> Body:
    """What the request says, or the defaults of ``shape``."""
    if bodies.is_empty(request):
        await request.body()
        return shape()
    with context.admission.admit(Lane.JOB, images=0) as ticket:
        limits = BodyLimits(MAX_JSON_BYTES, context.options.uploads.pace, ticket)
        return await read_json(request, shape, limits)
