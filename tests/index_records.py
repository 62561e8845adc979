"""The records of cards and indexes as three adapters keep them, by a clock that tests set."""

from types import SimpleNamespace

import pytest

from omma.domain.cards import Card, CardFace, CardId
from omma.stores.records.cards import SqlCardRecords
from omma.stores.records.corrections import SqlCorrections
from omma.stores.records.features import SqlFeatureLedger
from omma.stores.records.servings import SqlServings
from omma.stores.records.sessions import SqlCardSessions
from omma.stores.records.snapshots import SqlSnapshots
from tests.databases import KINDS, opened
from tests.index_fakes import (
    MemoryCardRecords,
    MemoryCardSessions,
    MemoryCorrections,
    MemoryFeatureLedger,
    MemoryServings,
    MemorySnapshots,
)


@pytest.fixture(params=["memory", *KINDS])
async def stores(request, clock):
    """Ports by their roles; ``advance`` moves their clock on."""
    if request.param == "memory":
        yield _in_memory()
        return
    url = request.getfixturevalue(f"{request.param.removesuffix('ql')}_url")
    async with opened(url, clock=clock) as database:
        yield SimpleNamespace(
            cards=SqlCardRecords(database),
            ledger=SqlFeatureLedger(database),
            corrections=SqlCorrections(database),
            snapshots=SqlSnapshots(database),
            servings=SqlServings(database),
            sessions=SqlCardSessions(database),
            advance=clock.advance,
        )


def card(card_id, name="Opt", *pictures, **more):
    """A card with one face for each of ``pictures``, their image keys."""
    faces = tuple(
        CardFace(number, f"{name} {number}", f"https://x/{key}", key, illustration=f"art of {key}")
        for number, key in enumerate(pictures)
    )
    return Card(CardId(card_id), name, faces=faces, **more)


def _in_memory():
    cards, servings = MemoryCardRecords(), MemoryServings()
    sessions = MemoryCardSessions()

    corrections = MemoryCorrections()

    def advance(seconds):
        for store in (cards, servings, sessions, corrections):
            store.advance(seconds)

    return SimpleNamespace(
        cards=cards,
        ledger=MemoryFeatureLedger(cards),
        corrections=corrections,
        snapshots=MemorySnapshots(servings),
        servings=servings,
        sessions=sessions,
        advance=advance,
    )
