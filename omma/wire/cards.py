"""Cards as HTTP asks for them and answers them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from omma.domain.cards import Alternative, Card, CardId, CardMatch, ItemId, Recognition
from omma.wire.images import Size
from omma.wire.operations import Answer, Params

SCORE_DECIMALS = 4
PX_DECIMALS = 2
LONGEST_ID = 200
MOST = 1000  # whatever a server's settings say, a request asks for no more

UnitFraction = Annotated[float, Field(ge=0, le=1)]
Point = tuple[float, float]  # x, y
FaceNumber = Annotated[int, Field(ge=0, le=99)]
CardIdText = Annotated[str, Field(max_length=LONGEST_ID)]

BOLT: dict[str, Any] = {  # what the document shows
    "predicted_card_id": "e5a30b6a-dfd5-4b4b-b4ff-9de81d36e9fd",
    "predicted_card_name": "Lightning Bolt",
    "finishes": ["nonfoil", "foil"],
    "set": "m11",
    "set_name": "Magic 2011",
    "prices": {"usd": "3.50"},
    "image_uris": {"normal": "https://example.com/normal/e5a30b6a.jpg"},
    "collector_number": "150",
}


class CardMatchParams(Params):
    """What is looked for in a photograph."""

    max_cards: Annotated[int, Field(ge=1, le=MOST)] | None = Field(
        default=None, description="Most cards to look for; by default as many as the server allows."
    )
    max_alternatives: Annotated[int, Field(ge=0, le=50)] = Field(
        default=5, description="Most other cards to name for each."
    )
    min_score: UnitFraction | None = Field(
        default=None, description="Do not claim cards of a lower score than this."
    )
    is_crop: bool = Field(default=False, description="The image is one card and little else.")


class CardSearchParams(BaseModel):
    """Which cards are wanted."""

    name: Annotated[str, Field(min_length=1, max_length=400)] = Field(
        description="All of a name or a part of it, whatever the case and accents.",
        examples=["lightning bolt"],
    )
    limit: Annotated[int, Field(ge=1, le=200)] = 20


class CardFaceRow(BaseModel):
    """One printed side of a card."""

    face: int = Field(description="0 for the front.")
    name: str


class CardAnswer(BaseModel):
    """One printing of a card, as its source describes it."""

    card_id: str = Field(description="The source's own: of Scryfall a UUID.")
    name: str = Field(description="Of all faces, as in `Fire // Ice`.", examples=["Fire // Ice"])
    set: str = Field(description="Code of the set.", examples=["apc"])
    set_name: str
    collector_number: str = Field(description="As it is printed.")
    layout: str
    finishes: list[str]
    prices: dict[str, Any]
    image_uris: dict[str, Any]
    released_at: str = Field(description="ISO date; empty where nobody says.")
    faces: list[CardFaceRow] = Field(description="Those whose picture can be recognised.")
    extra: dict[str, Any] = Field(description="What else the source has: columns of a table.")

    @classmethod
    def of(cls, card: Card) -> Self:
        """A record as it is written."""
        return cls(
            card_id=card.card_id,
            name=card.name,
            set=card.set_code,
            set_name=card.set_name,
            collector_number=card.collector_number,
            layout=card.layout,
            finishes=list(card.finishes),
            prices=dict(card.prices),
            image_uris=dict(card.image_uris),
            released_at=card.released_at,
            faces=[CardFaceRow(face=each.number, name=each.name) for each in card.faces],
            extra=dict(card.extra),
        )


class CardListAnswer(BaseModel):
    """Cards by name: the same first, then those that begin so, then those that have it."""

    cards: list[CardAnswer]


class CardRef(BaseModel):
    """A card, in few words."""

    card_id: str
    face: int = Field(description="Which side: 0 for the front.")
    name: str
    set: str
    set_name: str
    collector_number: str

    @classmethod
    def of(cls, item: ItemId, cards: Mapping[CardId, Card]) -> Self:
        """What the records say of one picture."""
        return cls(**_told(item, cards[item.card_id]))


class AlternativeCard(CardRef):
    """Another card that it might be."""

    score: UnitFraction
    is_printing: bool = Field(
        description="Of the same art: only the set's symbol and the collector line could tell."
    )

    @classmethod
    def within(cls, other: Alternative, cards: Mapping[CardId, Card]) -> Self:
        """One alternative as it is written."""
        told = _told(other.item, cards[other.item.card_id])
        score = round(other.score, SCORE_DECIMALS)
        return cls(**told, score=score, is_printing=other.is_printing)


class RecognisedCard(CardRef):
    """One card that was found in an image."""

    score: UnitFraction = Field(description="How sure it is, calibrated.")
    margin: float = Field(
        description="Of the score to that of the best alternative of another art.",
    )
    inliers: int = Field(description="Points of the picture that one homography explains.")
    outline: tuple[Point, Point, Point, Point] = Field(
        description=(
            "Corners [x, y] in px of the upright image: from the card's own top left, clockwise as"
            " the card is read. They may lie beyond the image."
        )
    )
    is_printing_certain: bool = Field(description="Where not, it may be any of `printings`.")
    finishes: list[str]
    prices: dict[str, Any]
    image_uris: dict[str, Any]
    printings: list[CardRef] = Field(description="Of the same art, itself included, best first.")
    alternatives: list[AlternativeCard] = Field(description="Best first.")

    @classmethod
    def found(cls, match: CardMatch, cards: Mapping[CardId, Card]) -> Self:
        """A match as it is written; ``cards`` has every card that it names."""
        card = cards[match.item.card_id]
        corners = [
            (round(float(x), PX_DECIMALS), round(float(y), PX_DECIMALS))
            for x, y in match.outline.tolist()
        ]
        return cls(
            **_told(match.item, card),
            score=round(match.score, SCORE_DECIMALS),
            margin=round(match.margin, SCORE_DECIMALS),
            inliers=match.inliers,
            outline=(corners[0], corners[1], corners[2], corners[3]),
            is_printing_certain=match.is_printing_certain,
            finishes=list(card.finishes),
            prices=dict(card.prices),
            image_uris=dict(card.image_uris),
            printings=[CardRef.of(each, cards) for each in match.printings],
            alternatives=[AlternativeCard.within(each, cards) for each in match.alternatives],
        )


class RecogniseAnswer(Answer):
    """The cards of one image, best first."""

    image: Size
    snapshot: str = Field(description="The version of the index that answered.")
    cards: list[RecognisedCard]

    @classmethod
    def of(cls, found: Recognition, cards: Mapping[CardId, Card]) -> Self:
        """A recognition as it is written; ``cards`` has every card that it names."""
        return cls(
            image=Size(width=found.width_px, height=found.height_px),
            snapshot=found.snapshot,
            cards=[RecognisedCard.found(each, cards) for each in found.matches],
            timings_ms={name: round(took, 2) for name, took in found.timings_ms.items()},
        )


class CorrectionParams(BaseModel):
    """What is said of an image; the plain fields of a form."""

    model_config = ConfigDict(extra="forbid")

    card_id: CardIdText = Field(default="", description="Empty: the image shows no indexed card.")
    face: FaceNumber = 0
    claimed_card_id: CardIdText = Field(default="", description="What had been answered.")
    claimed_face: FaceNumber = 0


class CorrectionAnswer(BaseModel):
    """A correction that was kept for the next rebuild."""

    correction_id: str
    card_id: str | None = None
    face: int | None = None


class InferAnswer(BaseModel):
    """The documented answer about one card's picture."""

    model_config = ConfigDict(json_schema_extra={"example": BOLT})

    predicted_card_id: str
    predicted_card_name: str
    finishes: list[str]
    set: str
    set_name: str
    prices: dict[str, Any]
    image_uris: dict[str, Any]
    collector_number: str = Field(description="Without leading zeros.")

    @classmethod
    def of(cls, card: Card) -> Self:
        """A record in the documented words."""
        number = card.collector_number
        return cls(
            predicted_card_id=card.card_id,
            predicted_card_name=card.name,
            finishes=list(card.finishes),
            set=card.set_code,
            set_name=card.set_name,
            prices=dict(card.prices),
            image_uris=dict(card.image_uris),
            collector_number=number.lstrip("0") or number[-1:],
        )


class InferError(BaseModel):
    """What the documented card routes answer that is not a success."""

    error: str = Field(examples=["No matching card found."])
    details: str | None = Field(
        default=None, description="A stable code, where the document has no words for it."
    )


class SessionCreated(BaseModel):
    """A session was opened; its id is all that a phone needs."""

    session_id: str


class ScanSubmitted(InferAnswer):
    """A scan was recognised and is the session's result."""

    status: Literal["success"] = "success"


class ScanResult(BaseModel):
    """What was scanned last."""

    completed: bool
    result_id: str | None = Field(default=None, description="Another one with each scan.")
    result: InferAnswer | None = None


def _told(item: ItemId, card: Card) -> dict[str, Any]:
    return {
        "card_id": card.card_id,
        "face": item.face,
        "name": card.name,
        "set": card.set_code,
        "set_name": card.set_name,
        "collector_number": card.collector_number,
    }
