import asyncio

import pytest

from omma.domain.errors import InvalidInput, StoreUnavailable
from omma.services.gathering import Gathering


class Doubling:
    """Doubles numbers; odd words are errors, a held gate keeps every call."""

    def __init__(self):
        self.calls = []
        self.gate = asyncio.Event()
        self.arrived = asyncio.Semaphore(0)
        self.fault = None

    async def __call__(self, items):
        self.calls.append(list(items))
        self.arrived.release()
        await self.gate.wait()
        if self.fault and (self.fault_of is None or self.fault_of in items):
            raise self.fault
        return [InvalidInput("odd") if item % 2 else 2 * item for item in items]

    fault_of = None


async def start(gathering, items):
    tasks = [asyncio.create_task(gathering.ask(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_a_call_runs_goes_together_into_the_next():
    doubling = Doubling()
    gathering = Gathering(doubling)
    first = await start(gathering, [2])
    await doubling.arrived.acquire()

    rest = await start(gathering, [4, 6, 8])
    doubling.gate.set()

    assert await asyncio.gather(*first, *rest) == [4, 8, 12, 16]
    assert doubling.calls == [[2], [4, 6, 8]]


async def test_a_call_is_no_larger_than_its_limit():
    doubling = Doubling()
    gathering = Gathering(doubling, max_items=2)
    doubling.gate.set()

    tasks = await start(gathering, [2, 4, 6, 8, 10])
    await asyncio.gather(*tasks)

    assert [len(call) for call in doubling.calls] == [2, 2, 1]


async def test_an_error_reaches_its_own_caller():
    doubling = Doubling()
    gathering = Gathering(doubling)
    doubling.gate.set()

    outcomes = await asyncio.gather(*map(gathering.ask, [2, 3, 4]), return_exceptions=True)

    assert outcomes[0] == 4
    assert isinstance(outcomes[1], InvalidInput)
    assert outcomes[2] == 8


async def test_a_store_that_is_gone_is_everybodys_error_and_the_next_call_is_tried():
    doubling = Doubling()
    gathering = Gathering(doubling)
    doubling.gate.set()
    doubling.fault = StoreUnavailable("gone")

    outcomes = await asyncio.gather(*map(gathering.ask, [2, 4]), return_exceptions=True)
    doubling.fault = None

    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert len(doubling.calls) == 1
    assert await gathering.ask(6) == 12


async def test_an_unforeseen_fault_is_told_to_nobody_but_its_cause():
    doubling = Doubling()
    gathering = Gathering(doubling)
    doubling.gate.set()
    doubling.fault, doubling.fault_of = ZeroDivisionError(), 4

    outcomes = await asyncio.gather(*map(gathering.ask, [2, 4, 6]), return_exceptions=True)

    assert outcomes[0] == 4
    assert isinstance(outcomes[1], ZeroDivisionError)
    assert outcomes[2] == 12


async def test_a_caller_that_leaves_takes_nobodys_outcome_along():
    doubling = Doubling()
    gathering = Gathering(doubling)
    in_work, waiting, stays = (
        *(await start(gathering, [2])),
        *(await start(gathering, [4])),
        *(await start(gathering, [6])),
    )
    await doubling.arrived.acquire()

    in_work.cancel()
    waiting.cancel()
    await asyncio.sleep(0)
    doubling.gate.set()

    assert await stays == 12
    assert doubling.calls == [[2], [6]]
    with pytest.raises(asyncio.CancelledError):
        await waiting
