"""``/api/mobile-infer``: a phone scans cards into a session that a computer reads."""

import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from omma.api.access import public_by_id, require
from omma.api.describe import ROI_BODY
from omma.api.infer import InferRoute, Words, card_of, configured, infer_problems
from omma.api.job_answers import written
from omma.api.options import Context, ContextOf
from omma.domain.errors import SessionNotFound
from omma.domain.tokens import SUPPORT, Principal
from omma.services.scans import Scans
from omma.wire.cards import InferAnswer, ScanResult, ScanSubmitted, SessionCreated

BAD_REQUEST, NOT_FOUND = HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND
TOO_LARGE, UNSUPPORTED = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
SUBMIT = Words("Missing roi_image", "Invalid image", "No matching card found", "Card ID not found")

Asker = Annotated[Principal, Depends(require(SUPPORT))]

router = APIRouter(prefix="/api/mobile-infer", tags=["cards"], route_class=InferRoute)


@router.post("/create", response_model=SessionCreated, responses=infer_problems(NOT_FOUND))
async def create_session(principal: Asker, context: ContextOf) -> Response:
    """Open a session of 55 minutes; a phone that knows its id may scan into it."""
    session_id = await _scans(context).open(principal.subject)
    return written(SessionCreated(session_id=session_id))


@router.post(
    "/submit/{session_id}",
    response_model=ScanSubmitted,
    responses=infer_problems(BAD_REQUEST, NOT_FOUND, TOO_LARGE, UNSUPPORTED),
    openapi_extra=ROI_BODY,
    dependencies=[Depends(public_by_id)],
)
async def submit_scan(request: Request, session_id: str, context: ContextOf) -> Response:
    """Recognise the one card of a cropped picture: the session's result from now on."""
    scans = _scans(context)
    try:
        await scans.enter(session_id)
        answer = InferAnswer.of(await card_of(request, context, SUBMIT))
        result = {"result_id": str(uuid.uuid4()), "result": answer.model_dump(mode="json")}
        await scans.leave(session_id, result)
    except SessionNotFound:
        raise _no_session() from None
    return written(ScanSubmitted(**answer.model_dump()))


@router.get(
    "/result/{session_id}",
    response_model=ScanResult,
    responses=infer_problems(NOT_FOUND),
    dependencies=[Depends(public_by_id)],
)
async def read_scan(session_id: str, context: ContextOf) -> Response:
    """Tell what was scanned last."""
    try:
        state = await _scans(context).state(session_id)
    except SessionNotFound:
        raise _no_session() from None
    if state.result is None:
        return Response('{"completed":false,"result":null}', media_type="application/json")
    return written(ScanResult(completed=True, **dict(state.result)))


def _scans(context: Context) -> Scans:
    return configured(context).scans


def _no_session() -> SessionNotFound:
    return SessionNotFound("Session not found")
