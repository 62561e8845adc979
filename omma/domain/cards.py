"""Cards: what is known of them, what is seen of them, and what was recognised."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

import numpy as np
from jaxtyping import Float32, UInt8

from omma.domain.jobs import Json

CardId = NewType("CardId", str)  # the source's own: of Scryfall a UUID, of a folder a file's name


@dataclass(frozen=True, slots=True, order=True)
class ItemId:
    """One picture that is told apart: a card's face. Two-faced cards have two."""

    card_id: CardId
    face: int = 0  # 0 for the front


@dataclass(frozen=True, slots=True)
class CardFace:
    """One printed side of a card."""

    number: int  # 0 for the front
    name: str
    image_url: str  # where its picture lies: a URL, or a path that the source knows
    image_key: str  # another one as soon as the picture is another
    illustration: str = ""  # the same for all printings of one art; empty where nobody says


@dataclass(frozen=True, slots=True)
class Card:
    """One printing of a card, as its source describes it."""

    card_id: CardId
    name: str  # of all faces: "Fire // Ice"
    set_code: str = ""
    set_name: str = ""
    collector_number: str = ""
    layout: str = ""
    finishes: tuple[str, ...] = ()
    prices: Json = field(default_factory=dict[str, str | None])
    image_uris: Json = field(default_factory=dict[str, str])
    released_at: str = ""  # ISO date
    faces: tuple[CardFace, ...] = ()  # those that have a picture to index
    extra: Json = field(default_factory=dict[str, str])  # columns of a folder's table


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What is seen of one picture, and kept of it. Pixels of the picture brought to index size."""

    keypoints: Float32[np.ndarray, "n 4"]  # x, y, size in px; angle in degrees, as OpenCV has it
    descriptors: UInt8[np.ndarray, "n 128"]  # RootSIFT: square roots of an L1-unit vector, x 512
    width_px: int
    height_px: int
    regions: bytes = b""  # what tells printings apart, in the engine's own form


@dataclass(frozen=True, slots=True, eq=False)
class ItemFeatures:
    """An item with what is seen of its picture."""

    item: ItemId
    features: Features
    illustration: str = ""


@dataclass(frozen=True, slots=True)
class RecogniseOptions:
    """What is asked of a photograph."""

    max_cards: int = 1  # most cards to look for
    max_alternatives: int = 5
    min_score: float | None = None  # below it a card is not claimed; None for the index' own
    is_crop: bool = False  # the image is one card and little else


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another card that it might be."""

    item: ItemId
    score: float
    is_printing: bool  # of the same art: only symbol and collector line could tell


@dataclass(frozen=True, slots=True, eq=False)
class CardMatch:
    """One card found in a photograph."""

    item: ItemId
    score: float  # calibrated, 0 to 1
    margin: float  # of the score to that of the best alternative of another art
    inliers: int  # keypoints that one homography explains
    outline: Float32[np.ndarray, "4 2"]  # px of the upright image, from the card's own top left,
    # clockwise as the card is read; may reach beyond the image
    is_printing_certain: bool  # False: it may be any of ``printings``
    printings: tuple[ItemId, ...] = ()  # of the same art, itself included, best first
    alternatives: tuple[Alternative, ...] = ()  # best first


@dataclass(frozen=True, slots=True, eq=False)
class Recognition:
    """What was recognised in one image."""

    matches: tuple[CardMatch, ...]  # best first; none where no card is claimed
    snapshot: str  # the version of the index that answered
    width_px: int  # of the upright image
    height_px: int
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Correction:
    """What a human said a photograph shows; a canary of later rebuilds."""

    correction_id: str  # a random UUID
    item: ItemId | None  # None: no card of the index
    claimed: ItemId | None  # what had been answered
    image: str  # path in the blob store
    created_by: str
    created_at: datetime
