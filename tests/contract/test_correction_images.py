"""A correction and its image: kept together, or the image is swept."""

import pytest

from omma.services.cards import Claim
from omma.stores.records.corrections import SqlCorrections
from omma.stores.records.sweeps import SqlSweeps
from tests.card_fakes import RED, card_service, photo

NOBODY = Claim(None, None, "anna")


class CrashError(Exception):
    """The process ends."""


class CrashingSweeps(SqlSweeps):
    async def settled(self, folders):
        raise CrashError(folders)


async def test_a_crash_after_the_record_leaves_its_image_alone(timed_database, clock):
    sweeps = CrashingSweeps(timed_database)
    corrections = SqlCorrections(timed_database)
    service = card_service(sweeps=sweeps, corrections=corrections)

    with pytest.raises(CrashError):
        await service.correct(photo(RED), NOBODY)

    clock.advance(1_000_000)
    assert len(await corrections.recent(limit=9)) == 1
    assert await sweeps.due(limit=9) == []
