import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.batching import Batcher
from omma.domain.errors import OutOfMemory
from omma.domain.faces import Lane


class HeldEngine:
    """Doubles numbers; each batch begins, and then waits until it is let go."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.begun = asyncio.Queue()
        self.may_end = threading.Semaphore(0)
        self.batches, self.running, self.most_at_once = [], 0, 0

    def run(self, items):
        self.batches.append(items)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        self.loop.call_soon_threadsafe(self.begun.put_nowait, items)
        assert self.may_end.acquire(timeout=10)
        self.running -= 1
        return [item * 2 for item in items]

    def let_go(self, batches=1000):
        self.may_end.release(batches)


def doubled(items):
    return [item * 2 for item in items]


async def turns(count=10):
    """Let every task that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def start():
    """Start calls as tasks; none outlives the test."""
    tasks = []

    def start(batcher, *items, **options):
        tasks.append(asyncio.create_task(batcher(items, **options)))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_arrives_while_the_engine_is_busy_runs_together(start):
    engine = HeldEngine()
    batcher = Batcher(engine.run, max_size=4)

    first = start(batcher, 0)
    assert await engine.begun.get() == [0]
    later = [start(batcher, n) for n in range(1, 7)]
    await turns()
    waiting = batcher.waiting
    engine.let_go()

    assert await first == [0]
    assert await asyncio.gather(*later) == [[2], [4], [6], [8], [10], [12]]
    assert waiting == 6
    assert engine.batches == [[0], [1, 2, 3, 4], [5, 6]]


async def test_calls_of_one_turn_of_the_loop_share_a_batch():
    batches = []
    batcher = Batcher(lambda items: batches.append(items) or items, max_size=8)

    await asyncio.gather(batcher([1]), batcher([2, 3]), batcher([4]))

    assert batches == [[1, 2, 3, 4]]


async def test_a_long_call_is_split_and_joined_in_order():
    sizes = []
    batcher = Batcher(lambda items: sizes.append(len(items)) or doubled(items), max_size=4)

    assert await batcher(range(10)) == [n * 2 for n in range(10)]
    assert sizes == [4, 4, 2]


async def test_no_items_need_no_engine():
    assert await Batcher(lambda _: pytest.fail("ran"), max_size=4)([]) == []


async def test_a_bad_item_fails_alone():
    bad = ValueError("bad")
    batcher = Batcher(lambda items: [bad if item == 13 else item for item in items], max_size=4)

    assert await batcher([1, 13, 2]) == [1, bad, 2]


async def test_an_engine_that_breaks_tells_the_whole_batch_and_goes_on():
    gone = OSError("gone")

    def run(items):
        if 0 in items:
            raise gone
        return items

    batcher = Batcher(run, max_size=2)

    assert await batcher([0, 1, 2, 3]) == [gone, gone, 2, 3]
    assert batcher.max_size == 2


async def test_an_engine_that_loses_items_is_caught():
    [one, two] = await Batcher(lambda items: items[1:], max_size=2)([1, 2])

    assert str(one) == str(two) == "expected 2 results of the engine, got 1"


async def test_out_of_memory_halves_the_batch_and_it_stays_lowered():
    sizes = []

    def run(items):
        sizes.append(len(items))
        if len(items) > 3:
            raise OutOfMemory("too many")
        return doubled(items)

    batcher = Batcher(run, max_size=8)

    assert await batcher(range(16)) == [n * 2 for n in range(16)]
    assert batcher.max_size == 2
    assert sizes == [8, 4, 2, 2, 2, 2, *[2] * 4]


async def test_out_of_memory_on_one_item_fails_that_item():
    def run(items):
        if 13 in items:
            raise OutOfMemory("huge")
        return items

    [one, huge, two] = await Batcher(run, max_size=4)([1, 13, 2])

    assert (one, two) == (1, 2)
    assert isinstance(huge, OutOfMemory)


async def test_a_caller_that_leaves_takes_its_waiting_items_along(start):
    engine = HeldEngine()
    batcher = Batcher(engine.run, max_size=2)
    running = start(batcher, 0)
    await engine.begun.get()
    leaver, stayer = start(batcher, 1, 2, 3), start(batcher, 4)
    await turns()

    leaver.cancel()
    await turns()

    assert batcher.waiting == 1
    engine.let_go()
    assert [await running, await stayer] == [[0], [8]]
    assert engine.batches == [[0], [4]]


async def test_a_caller_that_leaves_its_running_batch_disturbs_nobody(start):
    engine = HeldEngine()
    batcher = Batcher(engine.run, max_size=2)
    leaver, stayer = start(batcher, 1), start(batcher, 2)
    await engine.begun.get()

    leaver.cancel()
    engine.let_go()

    assert await stayer == [4]
    assert await batcher([5]) == [10]


async def test_as_many_batches_run_at_once_as_there_are_streams(start):
    engine = HeldEngine()
    batcher = Batcher(engine.run, max_size=1, streams=2)

    calls = [start(batcher, n) for n in range(5)]
    begun = [await engine.begun.get() for _ in range(2)]
    engine.let_go()

    assert sorted(begun) == [[0], [1]]
    assert await asyncio.gather(*calls) == [[0], [2], [4], [6], [8]]
    assert engine.most_at_once == 2


async def test_free_streams_share_what_waits(start):
    engine = HeldEngine()
    batcher = Batcher(engine.run, max_size=8, streams=2)

    call = start(batcher, 0, 1, 2, 3)
    begun = [await engine.begun.get() for _ in range(2)]
    engine.let_go()

    assert sorted(begun) == [[0, 1], [2, 3]]
    assert await call == [0, 2, 4, 6]


async def test_only_items_of_one_group_run_together():
    batches = []
    batcher = Batcher(
        lambda items: batches.append(items) or items, max_size=8, group=lambda item: item % 2
    )

    assert await batcher(range(6)) == [0, 1, 2, 3, 4, 5]
    assert batches == [[0, 2, 4], [1, 3, 5]]


async def test_interactive_work_goes_before_jobs(start):
    engine = HeldEngine()
    batcher = Batcher(engine.run, max_size=2)
    calls = [start(batcher, 0)]
    await engine.begun.get()

    calls.append(start(batcher, 1, 2, 3, lane=Lane.JOB))
    calls.append(start(batcher, 4, 5))
    await turns()
    engine.let_go()
    await asyncio.gather(*calls)

    assert engine.batches == [[0], [4, 5], [1, 2], [3]]


async def test_every_batch_is_observed():
    seen = []
    batcher = Batcher(doubled, max_size=2, observe=seen.append)

    await batcher([1, 2, 3], lane=Lane.JOB)
    await turns()

    assert [(stats.size, stats.lane) for stats in seen] == [(2, Lane.JOB), (1, Lane.JOB)]
    assert all(stats.queue_wait_ms >= 0 and stats.engine_ms >= 0 for stats in seen)


async def test_an_observer_that_fails_costs_no_answer(caplog):
    def observe(_stats):
        raise RuntimeError("no metrics today")

    batcher = Batcher(doubled, max_size=1, observe=observe)

    assert await batcher([1, 2, 3]) == [2, 4, 6]
    await turns()
    assert "a batch's observer failed" in caplog.text


@pytest.mark.parametrize("knob", [{"max_size": 0}, {"max_size": 1, "streams": 0}])
def test_sizes_are_at_least_one(knob):
    with pytest.raises(ValueError, match="at least 1"):
        Batcher(doubled, **knob)


call_plans = st.lists(
    st.tuples(
        st.lists(st.integers(0, 99), max_size=12),
        st.sampled_from(Lane),
        st.integers(0, 3),  # turns of the loop before the next call
        st.booleans(),  # does the caller leave?
    ),
    max_size=20,
)


@given(call_plans, st.integers(1, 5), st.integers(1, 3), st.integers(1, 6))
def test_every_call_that_stays_gets_its_own_answers_in_order(plans, max_size, streams, memory):
    def run(items):
        assert len({item % 3 for item in items}) == 1
        assert len(items) <= max_size
        if len(items) > memory:
            raise OutOfMemory("too many")
        return [ValueError(item) if item == 13 else item * 2 for item in items]

    async def scenario():
        batcher = Batcher(run, max_size=max_size, streams=streams, group=lambda item: item % 3)
        calls = []
        for items, lane, pause, leaves in plans:
            calls.append(asyncio.create_task(batcher(items, lane=lane)))
            await turns(pause)
            if leaves:
                calls[-1].cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await turns()
        batcher.close()
        return answers, batcher.waiting

    answers, waiting = asyncio.run(scenario())

    assert waiting == 0
    for (items, _, _, leaves), answer in zip(plans, answers, strict=True):
        if isinstance(answer, asyncio.CancelledError):
            assert leaves
        else:
            assert [str(a) if isinstance(a, Exception) else a for a in answer] == [
                "13" if item == 13 else item * 2 for item in items
            ]
