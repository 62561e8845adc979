"""``/api/v1/faces``."""

import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from omma.api.access import require
from omma.api.answers import as_json, detect_answer, embed_answer, timings
from omma.api.describe import BATCH_BODY, IMAGE_BODY, problems
from omma.api.disconnects import unless_disconnected
from omma.api.errors import problem_of
from omma.api.images import read_images
from omma.api.multipart import Upload
from omma.api.options import ContextOf
from omma.api.work import ms_since, of_one_image, written
from omma.domain.errors import OmmaError
from omma.domain.faces import Detection, EmbeddedFaces, Lane
from omma.domain.tokens import SUPPORT
from omma.operations.faces import FACE_DETECTION, FACE_EMBEDDING
from omma.services.faces import FaceQuery
from omma.wire.faces import (
    BatchAnswer,
    BatchItem,
    DetectAnswer,
    DetectParams,
    EmbedAnswer,
    EmbedParams,
)

NOT_FOUND = HTTPStatus.NOT_FOUND
TOO_LARGE, UNSUPPORTED = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
MANY_FACES = 32  # writing more embeddings than these would hold the event loop

Found = TypeVar("Found", Detection, EmbeddedFaces)

router = APIRouter(prefix="/api/v1/faces", tags=["faces"], dependencies=[Depends(require(SUPPORT))])


@router.post(
    "/detect",
    response_model=DetectAnswer,
    responses=problems(TOO_LARGE, UNSUPPORTED),
    openapi_extra=IMAGE_BODY,
)
async def detect_faces(
    request: Request, params: Annotated[DetectParams, Query()], context: ContextOf
) -> Response:
    """Find every face of an image, best first."""
    faces = context.services.faces
    observed = context.services.operations[FACE_DETECTION.name].observed

    def work(image: bytes) -> Coroutine[Any, Any, list[Detection | OmmaError]]:
        return observed(lambda: faces.detect([image], _query(params)), 1, lane=Lane.INTERACTIVE)

    found = _timed(*await of_one_image(request, context, work))
    return as_json(detect_answer(found, faces.detector_name))


@router.post(
    "/embed",
    response_model=EmbedAnswer,
    responses=problems(NOT_FOUND, TOO_LARGE, UNSUPPORTED),
    openapi_extra=IMAGE_BODY,
)
async def embed_faces(
    request: Request, params: Annotated[EmbedParams, Query()], context: ContextOf
) -> Response:
    """Find every face of an image and embed it, best first."""
    faces = context.services.faces
    observed = context.services.operations[FACE_EMBEDDING.name].observed

    def work(image: bytes) -> Coroutine[Any, Any, list[EmbeddedFaces | OmmaError]]:
        return observed(lambda: faces.embed([image], _query(params)), 1, lane=Lane.INTERACTIVE)

    found = _timed(*await of_one_image(request, context, work))
    return await written(
        lambda: embed_answer(found, faces.detector_name, params.encoding),
        is_large=len(found.embeddings) > MANY_FACES,
    )


@router.post(
    "/embed/batch",
    response_model=BatchAnswer,
    responses=problems(NOT_FOUND, TOO_LARGE, UNSUPPORTED),
    openapi_extra=BATCH_BODY,
)
async def embed_faces_of_many(
    request: Request, params: Annotated[EmbedParams, Query()], context: ContextOf
) -> Response:
    """Find and embed the faces of several images; a bad image fails alone."""
    started = time.perf_counter()
    faces = context.services.faces
    observed = context.services.operations[FACE_EMBEDDING.name].observed
    with context.admission.admit(Lane.INTERACTIVE) as ticket:
        uploads = await read_images(request, context.options.uploads, ticket)
        images = [upload.data for upload in uploads if isinstance(upload.data, bytes)]
        work = observed(
            lambda: faces.embed(images, _query(params)), len(images), lane=Lane.INTERACTIVE
        )
        outcomes = await unless_disconnected(request, work)

    def build() -> BatchAnswer:
        results = _items(uploads, outcomes, faces.detector_name, params)
        return BatchAnswer(results=results, timings_ms=timings({"total": ms_since(started)}))

    return await written(build, is_large=True)


def _timed(found: Found, total_ms: float) -> Found:
    return replace(found, timings_ms={**found.timings_ms, "total": total_ms})


def _query(params: DetectParams) -> FaceQuery:
    return FaceQuery(
        min_score=params.min_score,
        max_faces=params.max_faces,
        det_size=params.det_size,
        crops=params.crops,
        models=params.models if isinstance(params, EmbedParams) else (),
    )


def _items(
    uploads: Sequence[Upload],
    outcomes: Sequence[EmbeddedFaces | OmmaError],
    model: str,
    params: EmbedParams,
) -> list[BatchItem]:
    """One item per upload; ``outcomes`` are those of the uploads that were kept."""
    remaining = iter(outcomes)
    items: list[BatchItem] = []
    for index, upload in enumerate(uploads):
        outcome = upload.data if isinstance(upload.data, OmmaError) else next(remaining)
        item = BatchItem(index=index, filename=upload.filename)
        if isinstance(outcome, OmmaError):
            item.error = problem_of(outcome)
        else:
            item.result = embed_answer(outcome, model, params.encoding)
        items.append(item)
    return items
