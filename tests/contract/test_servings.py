"""What replicas tell of what they serve."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy import update

from omma.domain.indexes import Serving
from omma.stores.records.servings import SqlServings
from omma.stores.records.tables import index_servings
from tests.databases import opened

AT = datetime.fromtimestamp(1_700_000_000, UTC)


async def test_the_last_report_of_each_replica_counts(stores):
    await stores.servings.report("cards", "b", "v1", ttl_s=60)
    await stores.servings.report("cards", "a", "v1", ttl_s=60)
    await stores.servings.report("cards", "b", "v2", ttl_s=60)

    assert await stores.servings.listed("cards") == [
        Serving("cards", "a", "v1", AT),
        Serving("cards", "b", "v2", AT),
    ]
    assert await stores.servings.listed("people") == []


async def test_who_goes_silent_serves_nothing(stores):
    await stores.servings.report("cards", "a", "v1", ttl_s=60)
    await stores.servings.report("cards", "b", "v1", ttl_s=60)
    stores.advance(59)
    await stores.servings.report("cards", "b", "v1", ttl_s=60)
    stores.advance(1)

    assert [each.replica for each in await stores.servings.listed("cards")] == ["b"]


async def test_who_leaves_serves_nothing_at_once(stores):
    await stores.servings.report("cards", "a", "v1", ttl_s=60)

    await stores.servings.leave("cards", "a")
    await stores.servings.leave("cards", "b")

    assert await stores.servings.listed("cards") == []


async def test_who_is_late_with_its_report_holds_nobody_up(postgres_url, clock):
    """Else two that are late, and delete each other's word, wait for each other."""
    async with opened(postgres_url, clock=clock) as database, opened(postgres_url) as other:
        servings = SqlServings(database)
        await servings.report("cards", "late", "v1", ttl_s=1)
        clock.advance(2)
        row = update(index_servings).where(index_servings.c.replica == "late").values(version="v2")
        async with other.write() as connection:
            await connection.execute(row)  # its next report, not committed yet

            async with asyncio.timeout(5):
                await servings.report("cards", "in time", "v1", ttl_s=60)

        assert [each.replica for each in await servings.listed("cards")] == ["in time"]
