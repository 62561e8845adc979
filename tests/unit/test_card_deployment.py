"""What a replica that recognises cards does with images, batches and snapshots."""

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray.serve.metrics import Counter, Gauge, Histogram

from deployments import cards
from deployments.cards import SnapshotMatcher
from deployments.handles import RemoteCardMatcher
from omma.domain.cards import CardId, CardMatch, ItemId, RecogniseOptions, Recognition
from omma.domain.errors import IndexMissing, OmmaError, UndecodableImage
from omma.domain.faces import Lane
from omma.domain.indexes import CARDS, IndexStats, Snapshot, SnapshotState
from omma.settings import CardSettings, Settings
from tests.index_fakes import MemoryServings, MemorySnapshots
from tests.samples import encode, picture

PICTURE = encode(picture(), "PNG")  # 64 x 48 px


class Engine:
    """A snapshot that sees one card in every image, from 1, 2 to 3, 4."""

    def __init__(self, version, engines):
        self.version, self.engines = version, engines
        self.batches = []
        self.is_closed = False
        self.stats = IndexStats(2, 200, 1000)

    def recognise(self, images, options):
        assert not self.is_closed
        self.batches.append((self.version, len(images), options))
        self.engines.gate.wait(10)
        if self.engines.error:
            raise self.engines.error
        return [self.seen(image) for image in images]

    def seen(self, image):
        outline = np.array([[1, 2], [3, 2], [3, 4], [1, 4]], np.float32)
        item = ItemId(CardId("a"))
        match = CardMatch(item, 0.9, 0.5, 30, outline, True)  # noqa: FBT003
        height, width = image.shape[:2]
        return Recognition((match,), self.version, width, height, {"search": 1.0})

    def close(self):
        self.is_closed = True


class Engines:
    """CardEngines; a test may let them fail or wait."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.error = None
        self.opened = []

    def open(self, folder, *, version):
        assert folder == Path(version)
        self.opened.append(Engine(version, self))
        return self.opened[-1]


class Files:
    """SnapshotFiles whose copies are names."""

    async def fetch(self, _name, version):
        return Path(version)

    async def evict(self, _name, _keep):
        pass


@pytest.fixture
def engines():
    return Engines()


@pytest.fixture
def records():
    return SimpleNamespace(
        snapshots=MemorySnapshots(), servings=MemoryServings(), snapshot_files=Files()
    )


@pytest.fixture
def matcher(tmp_path, records, engines, monkeypatch):
    for metric, method in ((Histogram, "observe"), (Gauge, "set"), (Counter, "inc")):
        monkeypatch.setattr(metric, method, lambda *_: None)
    sized = CardSettings(max_batch=4, streams=1)
    return SnapshotMatcher(Settings(home=tmp_path, cards=sized), records, engines)


async def publish(matcher, records, version):
    made = datetime(2026, 1, 1, tzinfo=UTC)
    await records.snapshots.add(
        Snapshot(CARDS, version, SnapshotState.BUILT, IndexStats(1, 1, 1), made)
    )
    await records.snapshots.publish(CARDS, version)
    await matcher._swap.follow()  # noqa: SLF001


async def test_each_image_is_answered_or_fails_by_itself(matcher, records):
    await publish(matcher, records, "v1")

    first, second, third = await matcher.recognise(
        [PICTURE, b"no image", PICTURE], RecogniseOptions()
    )

    assert [(each.snapshot, each.width_px, each.height_px) for each in (first, third)] == [
        ("v1", 64, 48)
    ] * 2
    assert set(first.timings_ms) == {"decode", "search"}
    assert isinstance(second, UndecodableImage)


async def test_without_a_snapshot_every_image_is_told_so(matcher):
    outcomes = await matcher.recognise([PICTURE, b"no image"], RecogniseOptions())

    assert [type(each) for each in outcomes] == [IndexMissing] * 2
    matcher.check()


async def test_an_engine_is_warmed_up_before_it_serves(matcher, records, engines):
    await publish(matcher, records, "v1")

    assert [size for _, size, _ in engines.opened[0].batches] == [1]


async def test_an_engine_that_cannot_be_warmed_up_is_closed_and_not_served(
    matcher, records, engines
):
    engines.error = RuntimeError("nobody foresaw this")
    await publish(matcher, records, "v1")

    assert engines.opened[0].is_closed
    [outcome] = await matcher.recognise([PICTURE], RecogniseOptions())
    assert outcome.code == "not_ready"


async def test_an_engine_that_fails_unexpectedly_is_told_as_our_fault(matcher, records, engines):
    await publish(matcher, records, "v1")
    engines.error = RuntimeError("nobody foresaw this")

    [outcome] = await matcher.recognise([PICTURE], RecogniseOptions())

    assert type(outcome) is OmmaError
    assert "foresaw" not in str(outcome)


async def test_images_that_wait_share_a_batch_only_if_asked_the_same(matcher, records, engines):
    await publish(matcher, records, "v1")
    engines.opened[0].batches.clear()
    engines.gate.clear()
    one, many = RecogniseOptions(), RecogniseOptions(max_cards=9)
    first = asyncio.create_task(matcher.recognise([PICTURE], one))
    while not engines.opened[0].batches:  # noqa: ASYNC110  a thread does it
        await asyncio.sleep(0.001)
    others = asyncio.gather(
        matcher.recognise([PICTURE] * 3, one), matcher.recognise([PICTURE], many)
    )
    while matcher._batcher.waiting < 4:  # noqa: ASYNC110, SLF001
        await asyncio.sleep(0.001)

    engines.gate.set()
    await first
    await others

    sizes = {(size, options.max_cards) for _, size, options in engines.opened[0].batches}
    assert sizes == {(1, 1), (3, 1), (1, 9)}


async def test_what_waits_during_a_swap_ends_on_the_snapshot_it_began_with(
    matcher, records, engines
):
    await publish(matcher, records, "v1")
    engines.gate.clear()
    old = asyncio.create_task(matcher.recognise([PICTURE] * 6, RecogniseOptions()))
    while len(engines.opened[0].batches) < 2:  # noqa: ASYNC110  a thread does it
        await asyncio.sleep(0.001)
    swapping = asyncio.create_task(publish(matcher, records, "v2"))
    await asyncio.sleep(0.01)
    engines.gate.set()
    await swapping
    new = await matcher.recognise([PICTURE], RecogniseOptions())

    assert {each.snapshot for each in await old} == {"v1"}
    assert [each.snapshot for each in new] == ["v2"]
    while not engines.opened[0].is_closed:  # noqa: ASYNC110  a thread does it
        await asyncio.sleep(0.001)


async def test_an_engine_stays_open_while_it_looks_for_callers_that_have_left(
    matcher, records, engines
):
    await publish(matcher, records, "v1")
    old, go_on = engines.opened[0], threading.Event()
    old.engines = SimpleNamespace(gate=go_on, error=None)
    left = asyncio.create_task(matcher.recognise([PICTURE], RecogniseOptions()))
    while len(old.batches) < 2:  # noqa: ASYNC110  a thread does it
        await asyncio.sleep(0.001)
    left.cancel()
    await asyncio.wait({left})
    await publish(matcher, records, "v2")
    await asyncio.sleep(0.05)  # time enough to be closed too early

    was_closed = old.is_closed
    go_on.set()

    assert not was_closed
    while not old.is_closed:  # noqa: ASYNC110  a thread does it
        await asyncio.sleep(0.001)


async def test_of_a_very_large_image_outlines_are_in_its_own_pixels(matcher, records, monkeypatch):
    monkeypatch.setattr(cards, "LARGE_PX", 32)
    await publish(matcher, records, "v1")

    [found] = await matcher.recognise([PICTURE], RecogniseOptions())

    assert (found.width_px, found.height_px) == (64, 48)
    assert found.matches[0].outline.tolist() == [[2, 4], [6, 4], [6, 8], [2, 8]]
    assert found.matches[0].outline.dtype == np.float32


async def test_stopped_it_serves_nothing_and_says_so(matcher, records, engines):
    await publish(matcher, records, "v1")
    matcher.start()
    await matcher.stop()

    assert all(engine.is_closed for engine in engines.opened)
    assert await records.servings.listed(CARDS) == []


class Handle:
    """A handle to replicas that answer with what they were asked."""

    def __init__(self):
        self.asked, self.recognise = [], self

    async def remote(self, images, options, *, lane):
        del options
        self.asked.append((len(images), lane))
        return list(images)


async def test_many_images_are_shared_out_among_replicas_and_stay_in_order():
    handle = Handle()
    images = [b"%d" % number for number in range(7)]

    answers = await RemoteCardMatcher(handle, 3).recognise(
        images, RecogniseOptions(), lane=Lane.JOB
    )

    assert answers == images
    assert sorted(handle.asked) == [(1, Lane.JOB), (3, Lane.JOB), (3, Lane.JOB)]
    assert await RemoteCardMatcher(handle).recognise([], RecogniseOptions()) == []
