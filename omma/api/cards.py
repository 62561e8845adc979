"""``/api/v1/cards``."""

from collections.abc import Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from omma.api import bodies
from omma.api.access import require
from omma.api.admission import Ticket
from omma.api.answers import as_json, timings
from omma.api.bodies import BodyLimits
from omma.api.describe import CORRECTION_BODY, IMAGE_BODY, problems
from omma.api.images import FORM
from omma.api.multipart import ENVELOPE_BYTES, Form, FormLimits, read_form
from omma.api.options import Context, ContextOf, UploadLimits
from omma.api.reading import parse_texts
from omma.api.work import of_one_image, written
from omma.domain.cards import CardId, ItemId
from omma.domain.errors import (
    EmptyImage,
    InvalidInput,
    NotFound,
    OmmaError,
    UnsupportedMediaType,
)
from omma.domain.faces import Lane
from omma.domain.tokens import SUPPORT, Principal
from omma.operations.cards import CARD_MATCH
from omma.services.cards import CardService, Claim, RecognisedCards
from omma.wire.cards import (
    LONGEST_ID,
    CardAnswer,
    CardListAnswer,
    CardMatchParams,
    CardSearchParams,
    CorrectionAnswer,
    CorrectionParams,
    RecogniseAnswer,
)

CREATED, NOT_FOUND = HTTPStatus.CREATED, HTTPStatus.NOT_FOUND
TOO_LARGE, UNSUPPORTED = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
MANY_CARDS = 50  # named in one answer; writing more would hold the event loop
FIELDS = {"file", "image"}  # of a correction's form: either

Asker = Annotated[Principal, Depends(require(SUPPORT))]


async def _service(context: ContextOf) -> CardService:
    if context.services.cards is None:
        raise NotFound("cards are not recognised here: cards.enabled is false")
    return context.services.cards


CardsOf = Annotated[CardService, Depends(_service)]

router = APIRouter(prefix="/api/v1/cards", tags=["cards"], dependencies=[Depends(require(SUPPORT))])


@router.post(
    "/recognise",
    response_model=RecogniseAnswer,
    responses=problems(NOT_FOUND, TOO_LARGE, UNSUPPORTED),
    openapi_extra=IMAGE_BODY,
)
async def recognise_cards(
    request: Request,
    params: Annotated[CardMatchParams, Query()],
    _cards: CardsOf,
    context: ContextOf,
) -> Response:
    """Recognise every card of a photograph, best first, with its outline."""
    bound = context.services.operations[CARD_MATCH.name]
    CARD_MATCH.require(bound.capabilities, params)

    def work(image: bytes) -> Coroutine[Any, Any, list[RecognisedCards | OmmaError]]:
        return bound.run_typed([image], params, lane=Lane.INTERACTIVE)

    found, total_ms = await of_one_image(request, context, work)
    return await written(lambda: _answer(found, total_ms), is_large=len(found.cards) > MANY_CARDS)


def _answer(found: RecognisedCards, total_ms: float) -> RecogniseAnswer:
    answer = RecogniseAnswer.of(found.recognition, found.cards)
    took_ms = timings({**answer.timings_ms, "total": total_ms})
    return answer.model_copy(update={"timings_ms": took_ms})


@router.get("", response_model=CardListAnswer, responses=problems(NOT_FOUND))
async def search_cards(params: Annotated[CardSearchParams, Query()], cards: CardsOf) -> Response:
    """Find cards by name."""
    found = await cards.search(params.name, limit=params.limit)
    return as_json(CardListAnswer(cards=[CardAnswer.of(each) for each in found]))


@router.post(
    "/corrections",
    status_code=CREATED,
    response_model=CorrectionAnswer,
    responses=problems(NOT_FOUND, TOO_LARGE, UNSUPPORTED),
    openapi_extra=CORRECTION_BODY,
)
async def correct_card(
    request: Request, principal: Asker, cards: CardsOf, context: ContextOf
) -> Response:
    """Say what an image shows: the next rebuilds are judged by it."""
    with context.admission.admit(Lane.INTERACTIVE) as ticket:
        form = await _read(request, context, ticket)
        said = parse_texts(CorrectionParams, form.texts)
        correction = await cards.correct(_image(form), _claim(said, principal))
    item = correction.item
    answer = CorrectionAnswer(correction_id=correction.correction_id)
    if item is not None:
        answer = answer.model_copy(update={"card_id": item.card_id, "face": item.face})
    return as_json(answer, CREATED)


async def _read(request: Request, context: Context, ticket: Ticket) -> Form:
    if (kind := bodies.media_type(request)) != FORM:
        raise UnsupportedMediaType(f"expected {FORM}, got {kind!r}")
    uploads = context.options.uploads
    return await read_form(request, _limits(uploads, ticket), _refuse_second)


def _limits(uploads: UploadLimits, ticket: Ticket) -> FormLimits:
    body = BodyLimits(uploads.max_bytes, uploads.pace, ticket, ENVELOPE_BYTES)
    return FormLimits(FIELDS, uploads.max_bytes, body, texts=CorrectionParams.model_fields)


def _refuse_second(number: int) -> None:
    if number > 1:
        raise InvalidInput("expected one part named 'file'")


def _image(form: Form) -> bytes:
    if not form.uploads:
        raise EmptyImage("expected a part named 'file', got none")
    data = form.uploads[0].data
    if isinstance(data, OmmaError):
        raise data
    return data


def _claim(said: CorrectionParams, principal: Principal) -> Claim:
    item = ItemId(CardId(said.card_id), said.face) if said.card_id else None
    claimed = ItemId(CardId(said.claimed_card_id), said.claimed_face)
    return Claim(item, claimed if said.claimed_card_id else None, principal.subject)


@router.get("/{card_id}", response_model=CardAnswer, responses=problems(NOT_FOUND))
async def read_card(
    card_id: Annotated[str, Path(max_length=LONGEST_ID)], cards: CardsOf
) -> Response:
    """Tell what is known of a card."""
    return as_json(CardAnswer.of(await cards.get(card_id)))
