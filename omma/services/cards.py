"""What the application does with cards: recognise, look up, be corrected."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from omma.domain.cards import (
    Card,
    CardId,
    CardMatch,
    Correction,
    ItemId,
    RecogniseOptions,
    Recognition,
)
from omma.domain.errors import CardNotFound, InvalidInput, OmmaError, QuotaExceeded
from omma.domain.faces import Lane
from omma.ports.blobs import BlobStore, Sweeps
from omma.ports.cards import CardMatcher, CardRecords, Corrections
from omma.services.files import UNCLAIMED_S
from omma.services.scans import Scans
from omma.vision.headers import ImageLimits

CORRECTIONS = "corrections"  # the folder of what humans said, in the blob store
DAY_S = 86_400.0
RETRY_AFTER_S = 3600
LONGEST_ID = 200  # characters, as the records keep them


@dataclass(frozen=True, slots=True)
class CardLimits:
    """What a client may ask for."""

    max_cards: int = 30  # of one photograph
    images: ImageLimits = field(default_factory=ImageLimits)  # of a correction
    max_corrections: int = 500  # of one owner within 24 hours


@dataclass(frozen=True, slots=True, eq=False)
class RecognisedCards:
    """What was recognised in one image, with the records of every card that it names."""

    recognition: Recognition  # names cards of ``cards`` alone
    cards: Mapping[CardId, Card]
    removed: tuple[ItemId, ...] = ()  # claimed by the index, but no longer among the records


@dataclass(frozen=True, slots=True)
class Claim:
    """What is said of an image, and by whom."""

    item: ItemId | None  # None: no card of the index
    claimed: ItemId | None  # what had been answered
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardService:
    """Use cases over cards; one instance serves every request of a process."""

    matcher: CardMatcher
    records: CardRecords
    corrections: Corrections
    blobs: BlobStore
    sweeps: Sweeps
    scans: Scans
    limits: CardLimits = field(default_factory=CardLimits)
    # One at a time: a large image takes much memory while it is looked at.
    _decoding: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(1), init=False, repr=False, compare=False
    )

    def check(self, options: RecogniseOptions) -> None:
        """Raise what no image could change."""
        if not 1 <= options.max_cards <= self.limits.max_cards:
            raise InvalidInput(
                f"expected max_cards from 1 to {self.limits.max_cards}, got {options.max_cards}"
            )

    async def recognise(
        self,
        images: Sequence[bytes],
        options: RecogniseOptions,
        *,
        lane: Lane = Lane.INTERACTIVE,
    ) -> list[RecognisedCards | OmmaError]:
        """The cards of each image, or why that image has no answer, in the order given.

        A card whose record was removed since the index was made is not claimed.
        """
        self.check(options)
        outcomes = await self.matcher.recognise(images, options, lane=lane)
        found = [each for each in outcomes if isinstance(each, Recognition)]
        named = {item.card_id for each in found for match in each.matches for item in _items(match)}
        cards = await self.records.get(named) if named else {}
        return [_known(each, cards) if isinstance(each, Recognition) else each for each in outcomes]

    async def get(self, card_id: str) -> Card:
        """The card of this id, or `CardNotFound`."""
        wanted = CardId(card_id)
        if _is_id(card_id) and (card := (await self.records.get([wanted])).get(wanted)):
            return card
        raise CardNotFound(f"no card with the id {card_id[:LONGEST_ID]!r}")

    async def search(self, name: str, *, limit: int) -> list[Card]:
        """Cards of that name, then those whose name begins with it, then those that have it."""
        if "\0" in name:  # no database takes it, and no card has it
            return []
        return await self.records.search(name, limit=limit)

    async def correct(self, image: bytes, claim: Claim) -> Correction:
        """Keep what a human says an image shows: a canary of later rebuilds.

        `CardNotFound` for a card that is not among the records, `InvalidInput` for a face that it
        has not, `UndecodableImage` and its kin for what is no image, `QuotaExceeded`.
        """
        await self._require_quota(claim.owner)
        async with self._decoding:
            await asyncio.to_thread(_decode, image, self.limits.images)
        await self._require(claim)
        correction_id = str(uuid.uuid4())
        folder = f"{CORRECTIONS}/{correction_id}"
        path = f"{folder}/image"
        correction = Correction(
            correction_id, claim.item, claim.claimed, path, claim.owner, datetime.now(UTC)
        )
        await self.sweeps.intend([folder], due_in_s=UNCLAIMED_S)
        await self.blobs.put(path, image)
        await self.corrections.add(correction)
        await self.sweeps.settled([folder])
        return correction

    async def _require_quota(self, owner: str) -> None:
        """Nobody fills the store, nor makes up what later rebuilds are judged by."""
        most = self.limits.max_corrections
        if await self.corrections.count(owner, within_s=DAY_S) >= most:
            raise QuotaExceeded(f"{most} corrections within 24 hours: the most", RETRY_AFTER_S)

    async def _require(self, claim: Claim) -> None:
        if claim.claimed and not _is_id(claim.claimed.card_id):
            raise InvalidInput("expected the id of the card that was answered")
        if claim.item is None:
            return
        card = await self.get(claim.item.card_id)
        faces = [face.number for face in card.faces]
        if claim.item.face not in faces:
            raise InvalidInput(f"expected a face among {faces}, got {claim.item.face}")


def _decode(image: bytes, limits: ImageLimits) -> None:
    """Make sure that later rebuilds can look at it."""
    from omma.vision.images import decode, probe  # noqa: PLC0415  the command does without cv2

    decode(image, probe(image, limits), reduction=8)


def _known(found: Recognition, cards: Mapping[CardId, Card]) -> RecognisedCards:
    """``found`` without what is no longer among the records."""
    kept = tuple(_only(each, cards) for each in found.matches if each.item.card_id in cards)
    removed = tuple(each.item for each in found.matches if each.item.card_id not in cards)
    named = {item.card_id for match in kept for item in _items(match)}
    return RecognisedCards(
        replace(found, matches=kept), {each: cards[each] for each in sorted(named)}, removed
    )


def _only(match: CardMatch, cards: Mapping[CardId, Card]) -> CardMatch:
    return replace(
        match,
        printings=tuple(each for each in match.printings if each.card_id in cards),
        alternatives=tuple(each for each in match.alternatives if each.item.card_id in cards),
    )


def _items(match: CardMatch) -> list[ItemId]:
    return [match.item, *match.printings, *(each.item for each in match.alternatives)]


def _is_id(text: str) -> bool:
    return 0 < len(text) <= LONGEST_ID and "\0" not in text
