"""What is done with the cards of an image; routes and commands are by hand."""

from collections.abc import Sequence

from omma.domain.cards import RecogniseOptions
from omma.domain.errors import NotFound, OmmaError
from omma.domain.faces import Lane
from omma.domain.jobs import Json
from omma.operations.declaring import ActionType, Capabilities, Operation
from omma.ports.operations import Kept
from omma.services.cards import CardService, RecognisedCards
from omma.wire.cards import SCORE_DECIMALS, CardMatchParams, RecogniseAnswer


def _service(capabilities: Capabilities) -> CardService:
    if capabilities.cards is None:
        raise NotFound("cards are not recognised here: cards.enabled is false")
    return capabilities.cards


def _is_on(capabilities: Capabilities) -> bool:
    return capabilities.cards is not None


def _require(capabilities: Capabilities, params: CardMatchParams) -> None:
    cards = _service(capabilities)
    cards.check(_options(cards, params))


async def _recognise(
    capabilities: Capabilities, images: Sequence[bytes], params: CardMatchParams, lane: Lane
) -> list[RecognisedCards | OmmaError]:
    cards = _service(capabilities)
    return await cards.recognise(images, _options(cards, params), lane=lane)


def _options(cards: CardService, params: CardMatchParams) -> RecogniseOptions:
    default = 1 if params.is_crop else cards.limits.max_cards
    return RecogniseOptions(
        max_cards=params.max_cards or default,
        max_alternatives=params.max_alternatives,
        min_score=params.min_score,
        is_crop=params.is_crop,
    )


def _keep(found: RecognisedCards, _folder: str) -> Kept:
    answer = RecogniseAnswer.of(found.recognition, found.cards)
    return Kept(answer.model_dump(mode="json", exclude={"timings_ms"}), {})


def _measure(found: RecognisedCards) -> Json:
    recognition = found.recognition
    return {
        "success": True,
        "cards_found": len(recognition.matches),
        "confidence_scores": [round(each.score, SCORE_DECIMALS) for each in recognition.matches],
        "snapshot": recognition.snapshot,
        "processing_ms": round(sum(recognition.timings_ms.values()), 2),
    }


CARD_MATCH = Operation(
    name="card_match",
    noun="cards",
    verb="recognise",
    summary="Recognise every card of a photograph, best first.",
    action=ActionType.CARD_MATCH,
    params=CardMatchParams,
    is_on=_is_on,
    require=_require,
    run=_recognise,
    keep=_keep,
    measure=_measure,
)
