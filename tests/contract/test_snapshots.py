"""What the records of snapshots promise: one is published at a time, and every replica can tell."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from omma.domain.errors import PublishConflict, SnapshotNotFound
from omma.domain.indexes import IndexStats, Published, Snapshot, SnapshotState

BUILT, PUBLISHED, RETIRED, REFUSED = SnapshotState


def snapshot(version, name="cards", *, at=datetime(2026, 1, 1, tzinfo=UTC), **more):
    return Snapshot(name, version, BUILT, IndexStats(100, 50_000, 10**10), at, **more)


@pytest.fixture
async def snapshots(stores):
    """Three that were built, and one of another index."""
    for version in ("v1", "v2", "v3"):
        await stores.snapshots.add(snapshot(version))
    await stores.snapshots.add(snapshot("v1", "people"))
    return stores.snapshots


async def states(snapshots):
    return {each.version: each.state for each in await snapshots.listed("cards")}


async def test_a_snapshot_is_read_as_it_was_told(stores):
    told = snapshot("v1", last_change=10**12, report={"took_s": 1.5, "why": ["new"]})

    await stores.snapshots.add(told)

    assert await stores.snapshots.listed("cards") == [told]


async def test_the_same_again_changes_nothing(snapshots):
    await snapshots.publish("cards", "v1")

    await snapshots.add(snapshot("v1", report={"late": True}))

    [first] = [each for each in await snapshots.listed("cards") if each.version == "v1"]
    assert (first.state, first.report) == (PUBLISHED, {})


async def test_the_newest_comes_first(snapshots):
    assert list(await states(snapshots)) == ["v3", "v2", "v1"]
    assert await snapshots.listed("nothing") == []


async def test_of_two_made_in_one_second_the_later_comes_first(stores):
    moment = datetime(2026, 1, 1, tzinfo=UTC)  # versions end with what is random
    await stores.snapshots.add(snapshot("v-f", at=moment))
    await stores.snapshots.add(snapshot("v-0", at=moment + timedelta(milliseconds=1)))

    assert list(await states(stores.snapshots)) == ["v-0", "v-f"]


async def test_nothing_is_published_at_first(snapshots):
    assert await snapshots.published("cards") is None


async def test_who_is_published_retires_the_one_before(snapshots):
    first = await snapshots.publish("cards", "v1")
    second = await snapshots.publish("cards", "v2", expected=1)

    assert (first, second) == (Published("v1", 1), Published("v2", 2))
    assert await snapshots.published("cards") == second
    assert await snapshots.published("people") is None
    assert await states(snapshots) == {"v3": BUILT, "v2": PUBLISHED, "v1": RETIRED}


async def test_going_back_raises_the_sequence_too(snapshots):
    await snapshots.publish("cards", "v1")
    await snapshots.publish("cards", "v2")

    back = await snapshots.publish("cards", "v1", expected=2)

    assert back == Published("v1", 3)
    assert await states(snapshots) == {"v3": BUILT, "v2": RETIRED, "v1": PUBLISHED}


async def test_the_time_of_publication_is_told(snapshots):
    await snapshots.publish("cards", "v1")

    times = {each.version: each.published_at for each in await snapshots.listed("cards")}
    assert times["v1"] == datetime.fromtimestamp(1_700_000_000, UTC)
    assert times["v2"] is None


async def test_of_one_that_is_published_already_nothing_changes(snapshots):
    await snapshots.publish("cards", "v1", expected=0)

    again = await snapshots.publish("cards", "v1", expected=0)  # the answer had been lost

    assert again == Published("v1", 1)


@pytest.mark.parametrize("expected", [0, 2])
async def test_who_saw_another_publication_than_there_is_publishes_nothing(snapshots, expected):
    await snapshots.publish("cards", "v1")

    with pytest.raises(PublishConflict):
        await snapshots.publish("cards", "v2", expected=expected)

    assert await snapshots.published("cards") == Published("v1", 1)
    assert (await states(snapshots))["v2"] is BUILT


async def test_a_snapshot_that_nobody_knows_cannot_be_published(snapshots):
    with pytest.raises(SnapshotNotFound):
        await snapshots.publish("cards", "v4")
    with pytest.raises(SnapshotNotFound):
        await snapshots.publish("nothing", "v1")

    assert await snapshots.published("cards") is None
    assert await snapshots.published("nothing") is None


async def test_of_ten_who_saw_the_same_one_publishes(snapshots):
    versions = [f"w{number}" for number in range(10)]
    for version in versions:
        await snapshots.add(snapshot(version))
    calls = [snapshots.publish("cards", version, expected=0) for version in versions]

    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    [winner] = [each for each in outcomes if isinstance(each, Published)]
    assert sum(isinstance(each, PublishConflict) for each in outcomes) == 9
    assert await snapshots.published("cards") == winner == Published(winner.version, 1)
    assert list((await states(snapshots)).values()).count(PUBLISHED) == 1


async def test_the_gates_word_is_recorded(snapshots):
    await snapshots.judge("cards", "v1", REFUSED, {"reasons": ["half of the cards are gone"]})

    [first] = [each for each in await snapshots.listed("cards") if each.version == "v1"]
    assert (first.state, first.report) == (REFUSED, {"reasons": ["half of the cards are gone"]})


async def test_who_insists_publishes_what_was_refused(snapshots):
    await snapshots.judge("cards", "v1", REFUSED, {})

    assert await snapshots.publish("cards", "v1") == Published("v1", 1)


async def test_the_gate_never_changes_what_is_published(snapshots):
    await snapshots.publish("cards", "v1")
    await snapshots.publish("cards", "v2")

    for version in ("v1", "v2"):
        await snapshots.judge("cards", version, REFUSED, {"late": True})

    assert await states(snapshots) == {"v3": BUILT, "v2": PUBLISHED, "v1": RETIRED}


async def test_nobody_judges_what_nobody_knows(snapshots):
    with pytest.raises(SnapshotNotFound):
        await snapshots.judge("cards", "v4", BUILT, {})


async def test_an_old_snapshot_is_forgotten_once(snapshots):
    assert await snapshots.remove("cards", "v1")
    assert not await snapshots.remove("cards", "v1")
    assert list(await states(snapshots)) == ["v3", "v2"]
    assert len(await snapshots.listed("people")) == 1


async def test_what_is_published_or_served_is_not_forgotten(stores, snapshots):
    await snapshots.publish("cards", "v1")
    await snapshots.publish("cards", "v2")
    await stores.servings.report("cards", "replica", "v1", ttl_s=60)

    refused = [await snapshots.remove("cards", version) for version in ("v1", "v2")]
    stores.advance(60)

    assert refused == [False, False]
    assert await snapshots.remove("cards", "v1")


async def test_whoever_serves_another_index_is_in_nobodys_way(stores, snapshots):
    await stores.servings.report("people", "replica", "v1", ttl_s=60)

    assert await snapshots.remove("cards", "v1")
