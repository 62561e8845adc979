"""``POST /infer``: the card service's documented route, in its own words."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from omma.api import bodies
from omma.api.access import require
from omma.api.admission import Ticket
from omma.api.bodies import BodyLimits
from omma.api.describe import ROI_BODY, problems
from omma.api.disconnects import unless_disconnected
from omma.api.errors import headers_of, problem_of, unexpected_problem
from omma.api.images import FORM
from omma.api.job_answers import written
from omma.api.multipart import ENVELOPE_BYTES, FormLimits, read_files
from omma.api.options import Context, ContextOf
from omma.domain.cards import Card, RecogniseOptions
from omma.domain.errors import (
    CardNotFound,
    EmptyImage,
    InvalidInput,
    NotFound,
    OmmaError,
    UndecodableImage,
    UnsupportedMediaType,
)
from omma.domain.faces import Lane
from omma.domain.tokens import SUPPORT
from omma.operations.cards import CARD_MATCH
from omma.services.cards import CardService, RecognisedCards
from omma.wire.cards import InferAnswer, InferError
from omma.wire.problems import Problem

BAD_REQUEST, NOT_FOUND = HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND
TOO_LARGE, UNSUPPORTED = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
FAULT = HTTPStatus.INTERNAL_SERVER_ERROR
FIELD = "roi_image"
ONE_CARD = RecogniseOptions(max_cards=1, max_alternatives=0, is_crop=True)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Words:
    """How the routes say the same; clients compare them."""

    no_image: str
    not_an_image: str
    no_match: str
    no_card: str


INFER = Words(
    "No ROI image uploaded.",
    "Invalid image format.",
    "No matching card found.",
    "Card not found in database.",
)


class InferRoute(APIRoute):
    """Answers errors in the documented words, with their true status."""

    def get_route_handler(self) -> Handler:
        """The route's own handler, its errors caught."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return _refusal(InvalidInput(str(error.errors()[0]["msg"])))
            except OmmaError as error:
                return _refusal(error)

        return answer

    @staticmethod
    def unexpected() -> Response:
        """Answer for a fault that nobody foresaw: `LastResort` asks for it."""
        return _fault(unexpected_problem())


def _refusal(error: OmmaError) -> Response:
    problem = problem_of(error)
    if problem.status == FAULT:
        return _fault(problem)
    is_documented = isinstance(error, InvalidInput | NotFound)
    details = None if is_documented else problem.code
    status = BAD_REQUEST if isinstance(error, InvalidInput) else HTTPStatus(problem.status)
    response = _told(InferError(error=str(problem.detail), details=details), status)
    response.headers.update(headers_of(error))
    return response


def _fault(problem: Problem) -> Response:
    details = f"{problem.detail}, under the request {problem.request_id}"
    return _told(InferError(error="Error fetching card details", details=details), FAULT)


def _told(answer: InferError, status: HTTPStatus) -> Response:
    body = answer.model_dump_json(exclude_none=True)
    return Response(body, status, media_type="application/json")


def infer_problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The answers of such a route that are not successes."""
    described = problems(*statuses)
    del described[HTTPStatus.UNPROCESSABLE_ENTITY]
    return {
        status: {key: value for key, value in spec.items() if key != "content"}
        | {"model": InferError}
        for status, spec in described.items()
    }


router = APIRouter(tags=["cards"], route_class=InferRoute)


@router.post(
    "/infer",
    response_model=InferAnswer,
    responses=infer_problems(BAD_REQUEST, NOT_FOUND, TOO_LARGE, UNSUPPORTED),
    openapi_extra=ROI_BODY,
    dependencies=[Depends(require(SUPPORT))],
)
async def infer(request: Request, context: ContextOf) -> Response:
    """Recognise the one card of a cropped picture."""
    return written(InferAnswer.of(await card_of(request, context, INFER)))


async def card_of(request: Request, context: Context, words: Words) -> Card:
    """The record of the card that the request's picture shows."""
    cards = configured(context)
    observed = context.services.operations[CARD_MATCH.name].observed
    with context.admission.admit(Lane.INTERACTIVE) as ticket:
        image = await _read(request, context, ticket, words)
        work = observed(lambda: cards.recognise([image], ONE_CARD), 1, lane=Lane.INTERACTIVE)
        [outcome] = await unless_disconnected(request, work)
    if isinstance(outcome, UndecodableImage | EmptyImage):
        raise UndecodableImage(words.not_an_image)
    if isinstance(outcome, OmmaError):
        raise outcome
    return _card(outcome, words)


def configured(context: Context) -> CardService:
    """The service, or `NotFound` where the feature is off."""
    if context.services.cards is None:
        raise NotFound("Card recognition is not configured.")
    return context.services.cards


async def _read(request: Request, context: Context, ticket: Ticket, words: Words) -> bytes:
    if (kind := bodies.media_type(request)) != FORM:
        if bodies.is_empty(request):
            raise EmptyImage(words.no_image)
        raise UnsupportedMediaType(f"expected {FORM}, got {kind!r}")
    limits = context.options.uploads
    body = BodyLimits(limits.max_bytes, limits.pace, ticket, ENVELOPE_BYTES)
    uploads = await read_files(request, FormLimits({FIELD}, limits.max_bytes, body), _refuse_second)
    if not uploads:
        raise EmptyImage(words.no_image)
    data = uploads[0].data
    if isinstance(data, OmmaError):
        raise data
    if not data:
        raise EmptyImage(words.not_an_image if uploads[0].filename else words.no_image)
    return data


def _refuse_second(number: int) -> None:
    if number > 1:
        raise InvalidInput(f"Expected one part named {FIELD}.")


def _card(found: RecognisedCards, words: Words) -> Card:
    if found.recognition.matches:
        return found.cards[found.recognition.matches[0].item.card_id]
    raise CardNotFound(words.no_card if found.removed else words.no_match)
