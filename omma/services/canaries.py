"""Canaries, images with a known answer: photographs drawn of cards, and what people said."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

import numpy as np
from jaxtyping import UInt8

from omma.domain.cards import Card, CardFace, Correction, ItemId
from omma.domain.errors import OmmaError, SourceUnavailable
from omma.ports.blobs import BlobStore
from omma.ports.cards import CardRecords, CardSource, Corrections
from omma.services.retention import MOST_CORRECTIONS
from omma.vision.distortions import Severity, distort
from omma.vision.images import ImageLimits, decode, probe

log = logging.getLogger(__name__)

AT_ONCE = 4  # pictures that are fetched
LOOK_UP = 100  # cards of one query to the records
FEW = 40  # with fewer items each is asked several times: one unlucky photo shall not decide
LEAST_PART = 0.5  # of the canaries: with fewer pictures than that the source is to be asked later
NEW_PART = 0.25  # of the canaries: items that the running snapshot has not
OF_ONE_OWNER = 5  # corrections: one person shall not be the gate

Rgb = UInt8[np.ndarray, "h w 3"]
Photographer = Callable[[Rgb, np.random.Generator], Rgb]
_Faces = list[tuple[Card, CardFace]]


def moderate(picture: Rgb, rng: np.random.Generator) -> Rgb:
    """A photograph of a picture as somebody takes it with some care."""
    return distort(picture, Severity.MODERATE, rng).image


class Kind(StrEnum):
    """Where a canary comes from."""

    KNOWN = "known"  # an item of the running snapshot, or of the only one
    NEW = "new"  # an item that the running snapshot has not
    CORRECTED = "corrected"  # a person said what it shows


@dataclass(frozen=True, slots=True, eq=False)
class Canary:
    """An image with a known answer."""

    image: Rgb
    card: Card | None  # None: no card of the index is in it
    illustration: str = ""
    kind: Kind = Kind.KNOWN


@dataclass(frozen=True, slots=True)
class CanaryPorts:
    """Where canaries come from."""

    source: CardSource
    cards: CardRecords
    corrections: Corrections
    blobs: BlobStore


class Canaries:
    """The same for the same seed, as long as source and records tell the same."""

    def __init__(
        self, ports: CanaryPorts, limits: ImageLimits, *, wanted: int, photograph: Photographer
    ) -> None:
        self._ports = ports
        self._limits = limits
        self._wanted = wanted
        self._photograph = photograph

    async def drawn(
        self, seed: int, candidate: Sequence[ItemId], running: Sequence[ItemId]
    ) -> AsyncIterator[Canary]:
        """Photographs of items of the running snapshot, and of what is new in the candidate.

        `SourceUnavailable` where less than half of the pictures can be had.
        """
        known = await self._draw(running, seed)
        new: _Faces = []
        if known:
            most = max(1, round(NEW_PART * self._wanted))
            new = (await self._draw(sorted({*candidate} - {*running}), seed))[: 2 * most]
            new_wanted = min(most, len(new))
        else:  # nothing ran, or what ran is of another source altogether
            known, new_wanted = await self._draw(candidate, seed), 0
        most = self._wanted - new_wanted
        known_wanted = min(most, max(len(known), FEW)) if known else 0
        given = 0
        for faces, wanted, kind in (
            (known, known_wanted, Kind.KNOWN),
            (new, new_wanted, Kind.NEW),
        ):
            async for canary in self._photographs(faces, wanted, kind, seed):
                yield canary
                given += 1
        if given < LEAST_PART * (wanted := known_wanted + new_wanted):
            raise SourceUnavailable(f"the source gave {given} of {wanted} pictures of canaries")

    async def _photographs(
        self, faces: _Faces, wanted: int, kind: Kind, seed: int
    ) -> AsyncIterator[Canary]:
        faces = faces * (-(-wanted // len(faces)) if faces else 1)
        given = 0
        for start in range(0, len(faces), AT_ONCE):
            some = faces[start : start + min(AT_ONCE, wanted - given)]
            pictures = await asyncio.gather(*(self._picture(face) for _, face in some))
            for number, ((card, face), picture) in enumerate(zip(some, pictures, strict=True)):
                if picture is None:
                    continue
                rng = np.random.default_rng([seed, start + number])
                photo = await asyncio.to_thread(self._photograph, picture, rng)
                yield Canary(photo, card, face.illustration, kind)
                given += 1
            if given >= wanted:
                return

    async def _draw(self, items: Sequence[ItemId], seed: int) -> _Faces:
        """Twice as many faces as are wanted, since some pictures may not be had."""
        order: list[int] = np.random.default_rng(seed).permutation(len(items)).tolist()
        chosen = [items[number] for number in order]
        found: _Faces = []
        for start in range(0, len(chosen), LOOK_UP):
            if len(found) >= 2 * self._wanted:
                break
            some = chosen[start : start + LOOK_UP]
            cards = await self._ports.cards.get({item.card_id for item in some})
            found += [
                (card, face)
                for item in some
                if (card := cards.get(item.card_id))
                for face in card.faces
                if face.number == item.face
            ]
        return found

    async def _picture(self, face: CardFace) -> Rgb | None:
        try:
            return await self._decoded(await self._ports.source.image(face))
        except OmmaError as error:
            log.info("a canary has no picture", extra={"reason": str(error)})
            return None

    async def corrected(self, limit: int) -> AsyncIterator[Canary]:
        """What people said last: few of each of them, and of each image once."""
        if not limit:
            return
        recent = await self._ports.corrections.recent(limit=MOST_CORRECTIONS)
        chosen = _fair(recent)[:limit]
        known = await self._ports.cards.get({each.item.card_id for each in chosen if each.item})
        seen = set[bytes]()
        for each in chosen:
            card = known.get(each.item.card_id) if each.item else None
            if each.item and card is None:
                continue  # the source no longer has it: nobody can answer rightly
            try:
                data = await self._ports.blobs.read(each.image)
                if (digest := sha256(data).digest()) in seen:
                    continue
                seen.add(digest)
                image = await self._decoded(data)
            except OmmaError as error:
                extra = {"correction": each.correction_id, "reason": str(error)}
                log.warning("a correction's image cannot be read", extra=extra)
                continue
            yield Canary(image, card, _art(each, card), Kind.CORRECTED)

    async def _decoded(self, data: bytes) -> Rgb:
        return await asyncio.to_thread(lambda: decode(data, probe(data, self._limits)))


def _fair(recent: Sequence[Correction]) -> list[Correction]:
    """The newest few of each owner, the newest first."""
    count = Counter[str]()
    found: list[Correction] = []
    for each in recent:
        count[each.created_by] += 1
        if count[each.created_by] <= OF_ONE_OWNER:
            found.append(each)
    return found


def _art(correction: Correction, card: Card | None) -> str:
    number = correction.item.face if correction.item else None
    faces = card.faces if card else ()
    return next((face.illustration for face in faces if face.number == number), "")
