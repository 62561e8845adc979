"""Cards made up: a coloured square is one, and who knows its colour knows the card."""

import asyncio
import re
from dataclasses import dataclass, field

import numpy as np

from omma.domain.cards import (
    Alternative,
    Card,
    CardFace,
    CardId,
    CardMatch,
    ItemId,
    Recognition,
)
from omma.domain.errors import OmmaError, TooManyPixels, TruncatedImage
from omma.domain.faces import Lane
from omma.services.cards import CardService
from omma.services.scans import Scans
from omma.stores.blobs import open_blobs
from omma.vision.images import ImageLimits, decode, probe
from tests.index_fakes import MemoryCardRecords, MemoryCardSessions, MemoryCorrections
from tests.job_fakes import MemoryJobs
from tests.samples import encode

SNAPSHOT = "20261121T020000Z-5f1e"
TABLE = (90, 90, 90)
RED, GREEN, BLUE, YELLOW = (230, 30, 30), (30, 200, 30), (40, 40, 240), (240, 220, 20)
NEAR = 40  # levels; JPEG changes a few
SMALLEST_PX = 100


def _card(number, name, **other):
    card_id = CardId(f"0000000{number}-0000-4000-8000-000000000000")
    names = name.split(" // ")
    faces = tuple(
        CardFace(at, each, f"https://cards.example/{number}/{at}.jpg", f"key-{number}-{at}")
        for at, each in enumerate(names)
    )
    described = {
        "set_code": "apc",
        "set_name": "Apocalypse",
        "collector_number": f"00{number}",
        "layout": "normal" if len(names) == 1 else "transform",
        "finishes": ("nonfoil", "foil"),
        "prices": {"usd": "3.50", "eur": None},
        "image_uris": {"normal": f"https://cards.example/{number}.jpg"},
        "released_at": "2001-06-04",
    }
    return Card(card_id, name, faces=faces, **{**described, **other})


BOLT = _card(1, "Red Bolt")
ELF = _card(2, "Green Élf")
REPRINT = _card(3, "Green Élf", set_code="m11", set_name="Magic 2011")
MOON = _card(4, "Blue Sun // Blue Moon")
GONE = _card(5, "Yellow Ghost")  # in the index, but not among the records
CARDS = (BOLT, ELF, REPRINT, MOON)
SHOWN = {
    RED: ItemId(BOLT.card_id),
    GREEN: ItemId(ELF.card_id),
    BLUE: ItemId(MOON.card_id, 1),
    YELLOW: ItemId(GONE.card_id),
}


def photo(*colours, kind="JPEG", width=640, height=480):
    """An encoded photograph of a table on which cards of these colours lie."""
    pixels = np.full((height, width, 3), TABLE, np.uint8)
    for at, colour in enumerate(colours):
        x = 20 + 150 * at
        pixels[40:180, x : x + 100] = colour
    return encode(pixels, kind, **({"quality": 95} if kind == "JPEG" else {}))


@dataclass
class FakeCardMatcher:
    """Sees a card in every square of a colour it knows, and as many in `tests.fakes.picture`."""

    asked: list = field(default_factory=list)  # (images, options, lane) of every call
    gate: asyncio.Event | None = None  # holds every call until it is set
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    fault: Exception | None = None

    async def recognise(self, images, options, *, lane=Lane.INTERACTIVE):
        self.asked.append((list(images), options, lane))
        self.arrived.release()
        if self.gate:
            await self.gate.wait()
        if self.fault:
            raise self.fault
        return [_outcome(image, options) for image in images]


def memory_records():
    """Records of every card but the one that is gone."""
    return MemoryCardRecords(cards={each.card_id: each for each in CARDS})


def card_service(matcher=None, **given):
    """A service over memory; ``given`` takes the place of parts of it."""
    parts = {
        "matcher": matcher or FakeCardMatcher(),
        "records": memory_records(),
        "corrections": MemoryCorrections(),
        "blobs": open_blobs("memory://"),
        "sweeps": MemoryJobs().sweeps,
        "scans": Scans(MemoryCardSessions()),
    }
    return CardService(**{**parts, **given})


def _outcome(image, options):
    if image == b"truncated":
        return TruncatedImage("ends in its third row")
    if image == b"bomb":
        return TooManyPixels("expected at most 50000000 pixels, got 900000000")
    if counted := re.fullmatch(rb"faces:(\d+)", image):
        squares = [(RED, 10 + 5 * at, 20, 4, 6) for at in range(int(counted[1]))]
        return _recognition(squares, options, 640, 480)
    try:
        pixels = decode(image, probe(image, ImageLimits()))
    except OmmaError as error:
        return error
    height, width = pixels.shape[:2]
    return _recognition(_squares(pixels), options, width, height)


def _squares(pixels):
    for colour in SHOWN:
        rows, columns = np.nonzero((np.abs(pixels.astype(int) - colour) < NEAR).all(axis=2))
        if len(rows) > SMALLEST_PX:
            x, y = columns.min(), rows.min()
            yield colour, x, y, columns.max() + 1 - x, rows.max() + 1 - y


def _recognition(squares, options, width, height):
    matches = [_match(square, options, at) for at, square in enumerate(squares)]
    floor = 0.5 if options.min_score is None else options.min_score
    claimed = tuple(each for each in matches if each.score >= floor)[: options.max_cards]
    return Recognition(claimed, SNAPSHOT, width, height, {"decode": 1.234567, "match": 2.0})


def _match(square, options, at):
    colour, x, y, wide, high = square
    item = SHOWN[colour]
    corners = [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)]
    is_elf = item.card_id == ELF.card_id
    other = Alternative(ItemId(REPRINT.card_id), 0.4, is_printing=is_elf)
    ghost = Alternative(ItemId(GONE.card_id), 0.2, is_printing=False)
    return CardMatch(
        item=item,
        score=max(0.95 - 0.001 * at, 0.5),
        margin=0.5,
        inliers=40,
        outline=np.array(corners, np.float32),
        is_printing_certain=not is_elf,
        printings=(item, other.item) if is_elf else (item,),
        alternatives=(other, ghost)[: options.max_alternatives],
    )
