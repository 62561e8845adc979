"""What replicas tell of what they serve."""

from datetime import UTC, datetime

from omma.domain.indexes import Serving

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
