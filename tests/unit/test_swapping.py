"""One snapshot serves while the next is made ready; nobody notices the change."""

import asyncio
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omma.domain.errors import (
    IndexCorrupt,
    IndexMissing,
    NotReady,
    SnapshotNotFound,
    StoreUnavailable,
)
from omma.domain.indexes import IndexStats, Published, Snapshot, SnapshotState
from omma.services.attempts import Backoff
from omma.services.swapping import SnapshotSwap, SwapOptions, SwapPlaces
from tests.index_fakes import MemoryServings, MemorySnapshots

NAME, REPLICA, TTL_S = "cards", "me", 60.0
VERSIONS = ("a", "b", "c")
LONGEST_S = 60.0  # between two tries


class Engine:
    """An opened snapshot that knows whether it was closed."""

    def __init__(self, version):
        self.version = version
        self.closed = 0

    def close(self):
        self.closed += 1


class Files:
    """SnapshotFiles whose copies are names; ``faults`` are raised by version."""

    def __init__(self):
        self.faults = {}
        self.evictions = []

    async def fetch(self, name, version):
        await asyncio.sleep(0)
        if version in self.faults:
            raise self.faults[version]
        return Path(name) / version

    async def evict(self, name, keep):
        del name
        self.evictions.append(list(keep))


class World:
    """A swap with all that it looks at, and the engines that it opened."""

    def __init__(self):
        self.now = 0.0
        self.engines = []
        self.unopenable = {}  # version: error
        self.told = []
        self.snapshots, self.servings, self.files = MemorySnapshots(), MemoryServings(), Files()
        self.swap = SnapshotSwap(
            SwapPlaces(self.snapshots, self.files, self.servings),
            self.open,
            SwapOptions(NAME, REPLICA, 0.001, TTL_S, Backoff(1.0, LONGEST_S)),
            observer=self,
            clock=lambda: self.now,
        )

    def open(self, folder, version):
        assert folder == Path(NAME) / version
        if version in self.unopenable:
            raise self.unopenable[version]
        self.engines.append(Engine(version))
        return self.engines[-1]

    def swapped(self, published, engine):
        self.told.append((published.version, engine.version))

    def failed(self, published, error):
        self.told.append((published.version, type(error)))

    async def publish(self, version):
        made = datetime(2026, 1, 1, tzinfo=UTC)
        stats = IndexStats(1, 1, 1)
        await self.snapshots.add(Snapshot(NAME, version, SnapshotState.BUILT, stats, made))
        return await self.snapshots.publish(NAME, version)

    async def served(self):
        """The versions that this replica is recorded to serve."""
        return [each.version for each in await self.servings.listed(NAME)]

    async def settle(self):
        """Let engines that nobody uses any more be closed."""
        await self.swap._shift.closed()  # noqa: SLF001

    def records(self, caplog, level):
        return [
            record
            for record in caplog.records
            if record.name == "omma.services.swapping" and record.levelno == level
        ]


@pytest.fixture
def world():
    return World()


async def test_without_a_snapshot_the_caller_is_told_what_to_do(world):
    await world.swap.follow()

    with pytest.raises(IndexMissing, match="omma indexes rebuild cards"), world.swap.lease():
        pass
    world.swap.check()  # it is no fault of the replica


async def test_what_is_published_is_served_and_told(world):
    await world.publish("a")
    await world.swap.follow()

    with world.swap.lease() as held:
        assert (held.engine.version, held.published) == ("a", Published("a", 1))
    assert await world.served() == ["a"]
    assert world.told == [("a", "a")]


async def test_a_running_call_ends_on_the_snapshot_it_began_with(world):
    await world.publish("a")
    await world.swap.follow()
    with world.swap.lease() as old:
        await world.publish("b")
        await world.swap.follow()

        with world.swap.lease() as new:
            assert (old.engine.version, new.engine.version) == ("a", "b")
        await world.settle()
        assert old.engine.closed == 0
    await world.settle()

    assert (old.engine.closed, new.engine.closed) == (1, 0)
    assert await world.served() == ["b"]


async def test_local_copies_are_kept_of_what_is_served_and_what_still_runs(world):
    await world.publish("a")
    await world.swap.follow()
    with world.swap.lease():
        await world.publish("b")
        await world.swap.follow()
    await world.publish("c")
    await world.swap.follow()

    assert world.files.evictions == [["a"], ["a", "b"], ["c"]]


async def test_copies_that_cannot_be_removed_end_nothing(world, caplog, monkeypatch):
    async def fail(_name, _keep):
        raise PermissionError("nobody foresaw this")

    monkeypatch.setattr(world.files, "evict", fail)
    await world.publish("a")
    await world.swap.follow()

    assert await world.served() == ["a"]
    assert len(world.records(caplog, logging.WARNING)) == 1


async def test_a_rollback_is_followed_like_any_publication(world):
    for version in ("a", "b", "a"):
        await world.publish(version)
        await world.swap.follow()
    await world.settle()

    assert world.swap.published == Published("a", 3)
    assert [engine.closed for engine in world.engines] == [1, 1, 0]


@pytest.mark.parametrize("place", ["files", "engine"])
async def test_a_corrupt_snapshot_changes_nothing_and_is_told_once(world, caplog, place):
    await world.publish("a")
    await world.swap.follow()
    faults = world.files.faults if place == "files" else world.unopenable
    faults["b"] = IndexCorrupt("other bytes")
    await world.publish("b")

    for _ in range(5):
        world.now += LONGEST_S
        await world.swap.follow()

    with world.swap.lease() as held:
        assert held.engine.version == "a"
    assert [record.snapshot for record in world.records(caplog, logging.ERROR)] == ["b"]
    assert world.told == [("a", "a"), ("b", IndexCorrupt)]
    assert await world.served() == ["a"]


async def test_a_snapshot_that_failed_is_tried_again_after_a_while_not_at_once(world):
    world.unopenable["a"] = MemoryError()
    await world.publish("a")
    await world.swap.follow()
    del world.unopenable["a"]

    await world.swap.follow()
    with pytest.raises(NotReady, match="log says why"), world.swap.lease():
        pass
    world.now += LONGEST_S
    await world.swap.follow()

    assert world.swap.published == Published("a", 1)


async def test_the_next_snapshot_does_not_wait_for_one_that_failed(world):
    world.files.faults["a"] = SnapshotNotFound("cards a")
    await world.publish("a")
    await world.swap.follow()
    await world.publish("b")
    await world.swap.follow()

    assert world.swap.published == Published("b", 2)


async def test_while_the_database_is_away_what_is_served_goes_on(world, caplog):
    await world.publish("a")
    await world.swap.follow()
    world.snapshots.is_down = world.servings.is_down = True

    for _ in range(3):
        world.now += TTL_S
        await world.swap.follow()
        await world.swap.report()

    with world.swap.lease() as held:
        assert held.engine.version == "a"
    assert len(world.records(caplog, logging.WARNING)) == 1


async def test_what_is_served_is_told_again_before_the_word_expires(world):
    await world.publish("a")
    await world.swap.follow()
    for _ in range(10):
        world.now += TTL_S / 2
        world.servings.advance(TTL_S / 2)
        await world.swap.report()

        assert await world.served() == ["a"]


async def test_an_unforeseen_failure_of_a_store_ends_nothing(world, monkeypatch):
    async def fail(_name):
        raise AssertionError("nobody foresaw this")

    monkeypatch.setattr(world.snapshots, "published", fail)
    await world.swap.follow()
    monkeypatch.undo()
    await world.publish("a")
    await world.swap.follow()

    assert world.swap.published == Published("a", 1)


async def test_started_it_follows_by_itself_and_stopped_it_lets_go(world):
    await world.publish("a")
    world.swap.start()
    while world.swap.published is None:  # noqa: ASYNC110  it follows by itself
        await asyncio.sleep(0.001)
    world.swap.check()

    await world.swap.stop()

    assert [engine.closed for engine in world.engines] == [1]
    assert await world.served() == []
    with pytest.raises(NotReady):
        world.swap.check()


async def test_stopped_while_an_engine_opens_it_leaves_none_open(world):
    opening, go_on = threading.Event(), threading.Event()
    real = world.open

    def slow(folder, version):
        opening.set()
        go_on.wait(10)
        return real(folder, version)

    world.swap._opened = slow  # noqa: SLF001
    await world.publish("a")
    world.swap.start()
    await asyncio.to_thread(opening.wait, 10)

    await world.swap.stop()
    go_on.set()
    while not (world.engines and world.engines[0].closed):  # noqa: ASYNC110  a thread does it
        await asyncio.sleep(0.001)

    assert [engine.closed for engine in world.engines] == [1]


async def test_calls_go_on_while_an_engine_opens(world):
    await world.publish("a")
    await world.swap.follow()
    go_on, real = threading.Event(), world.open
    world.swap._opened = lambda *args: go_on.wait(10) and real(*args)  # noqa: SLF001
    await world.publish("b")
    following = asyncio.create_task(world.swap.follow())

    for _ in range(5):
        await asyncio.sleep(0)
        with world.swap.lease() as held:
            assert held.engine.version == "a"
    go_on.set()
    await following

    with world.swap.lease() as held:
        assert held.engine.version == "b"


actions = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(VERSIONS)),
    st.tuples(st.just("break"), st.sampled_from(VERSIONS)),
    st.tuples(st.just("lose"), st.sampled_from(VERSIONS)),
    st.tuples(st.just("mend"), st.sampled_from(VERSIONS)),
    st.tuples(
        st.sampled_from(["follow", "follow", "report", "begin", "end", "away", "back", "wait"])
    ),
)


class Play:
    """Actions in any order, and what must hold after each of them."""

    def __init__(self):
        self.world = World()
        self.calls = []  # leases that are open, with what they hold
        self.ever = set()  # publications

    async def act(self, action, version=""):
        if version:
            await self.act_on(version, action)
        else:
            await self.act_on_all(action)
        await self.world.settle()
        self.check()

    async def act_on(self, version, action):
        world = self.world
        match action:
            case "publish" if not world.snapshots.is_down:
                self.ever.add(await world.publish(version))
            case "break":
                world.unopenable[version] = IndexCorrupt("other bytes")
            case "lose":
                world.files.faults[version] = StoreUnavailable("no answer", 5)
            case "mend":
                world.unopenable.pop(version, None)
                world.files.faults.pop(version, None)

    async def act_on_all(self, action):
        world = self.world
        match action:
            case "follow":
                await world.swap.follow()
            case "report":
                await world.swap.report()
            case "begin" if world.swap.published is not None:
                lease = world.swap.lease()
                self.calls.append((lease, lease.__enter__()))
            case "end" if self.calls:
                self.end()
            case "away" | "back":
                world.snapshots.is_down = world.servings.is_down = action == "away"
            case "wait":
                world.now += LONGEST_S

    def end(self):
        lease, held = self.calls.pop(0)
        assert held.engine.closed == 0
        lease.__exit__(None, None, None)

    def check(self):
        used = [held for _, held in self.calls]
        assert all(held.engine.closed == 0 for held in used)
        assert all(held.engine.version == held.published.version for held in used)
        published = self.world.swap.published
        assert published is None or published in self.ever
        in_use = {id(held.engine) for held in used}
        spare = [each for each in self.world.engines if not each.closed and id(each) not in in_use]
        assert len(spare) <= 1  # the one that is served
        assert all(each.closed <= 1 for each in self.world.engines)

    async def end_well(self):
        """Whatever happened: when all is mended, what is published is served."""
        world = self.world
        for version in VERSIONS:
            await self.act("mend", version)
        await self.act("back")
        await self.act("wait")
        await self.act("follow")
        assert world.swap.published == await world.snapshots.published(NAME)
        while self.calls:
            self.end()
        await world.swap.stop()
        assert [each.closed for each in world.engines] == [1] * len(world.engines)
        assert await world.served() == []


@given(st.lists(actions, max_size=40))
def test_whatever_happens_no_call_loses_its_snapshot_and_the_published_one_is_served(played):
    async def run():
        play = Play()
        for action in played:
            await play.act(*action)
        await play.end_well()

    asyncio.run(run())
