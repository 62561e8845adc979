"""Chores over leases in memory."""

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from omma.domain.errors import StoreUnavailable
from omma.services.chores import Chore, Chores
from tests.job_fakes import MemoryJobs
from tests.runner_fakes import soon

pytestmark = pytest.mark.timeout(120)  # a busy machine may stand still for many seconds


@dataclass
class Counted:
    """A chore that counts its turns; ``answers`` are what they come to, then nothing."""

    answers: list = field(default_factory=list)
    turns: int = 0
    gate: asyncio.Event | None = None
    cancelled: int = 0

    async def __call__(self):
        self.turns += 1
        if self.gate:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        match self.answers.pop(0) if self.answers else 0:
            case Exception() as error:
                raise error
            case done:
                return done


@asynccontextmanager
async def doing(leases, *chores, holder="a", ttl_s=0.03):
    task = asyncio.create_task(Chores(leases, holder, chores, ttl_s=ttl_s).run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def jobs():
    return MemoryJobs()


async def test_a_chore_is_done_again_and_again(jobs):
    chore = Counted()

    async with doing(jobs.leases, Chore("sweep", 0.001, chore)):
        await soon(lambda: chore.turns >= 3)


async def test_a_chore_that_found_something_is_done_again_at_once(jobs):
    chore = Counted([5, 5, 0])

    async with doing(jobs.leases, Chore("sweep", 3600, chore)):
        await soon(lambda: chore.turns == 3)


async def test_one_process_at_a_time_does_a_chore(jobs):
    first, second = Counted(), Counted()

    async with doing(jobs.leases, Chore("sweep", 0.001, first)):
        await soon(lambda: first.turns)
        async with doing(jobs.leases, Chore("sweep", 0.001, second), holder="b"):
            turns = first.turns
            await soon(lambda: first.turns > turns + 5)
            done_by_second = second.turns

    assert done_by_second == 0


async def test_another_takes_over_when_the_holder_stops(jobs):
    first, second = Counted(), Counted()

    async with doing(jobs.leases, Chore("sweep", 0.001, second), holder="b"):
        await soon(lambda: second.turns)
        async with doing(jobs.leases, Chore("sweep", 0.001, first)):
            jobs.rights.clear()
            await soon(lambda: first.turns)
        turns = second.turns
        await soon(lambda: second.turns > turns)


async def test_a_fault_of_one_chore_is_its_own(jobs):
    broken, slow, good = Counted([ZeroDivisionError()]), Counted(gate=asyncio.Event()), Counted()
    chores = (
        Chore("broken", 0.001, broken),
        Chore("slow", 0.001, slow),
        Chore("good", 0.001, good),
    )

    async with doing(jobs.leases, *chores):
        await soon(lambda: good.turns > 5 and broken.turns > 1)


async def test_a_chore_goes_on_after_the_database_was_away(jobs):
    chore = Counted([StoreUnavailable("gone", 5)])

    async with doing(jobs.leases, Chore("sweep", 0.001, chore)):
        await soon(lambda: chore.turns > 1)


async def test_a_long_turn_keeps_its_lease(jobs):
    chore = Counted(gate=asyncio.Event())

    async with doing(jobs.leases, Chore("sweep", 0.001, chore)):
        await soon(lambda: chore.turns)
        holder, until = jobs.rights["chore:sweep"]
        jobs.advance(0.02)
        await soon(lambda: jobs.rights["chore:sweep"][1] > until)

    assert (holder, chore.cancelled) == ("a", 1)


async def test_who_has_lost_the_lease_stops_its_turn(jobs):
    chore = Counted(gate=asyncio.Event())

    async with doing(jobs.leases, Chore("sweep", 0.001, chore)):
        await soon(lambda: chore.turns)
        jobs.rights["chore:sweep"] = ("b", jobs.now_ms + 10**6)
        await soon(lambda: chore.cancelled)


@pytest.mark.parametrize("moment", range(20))
async def test_at_whatever_moment_it_is_stopped_it_ends(jobs, moment):
    task = asyncio.create_task(Chores(jobs.leases, "a", [Chore("sweep", 0, Counted())]).run())
    for _ in range(moment):
        await asyncio.sleep(0)

    task.cancel()
    await asyncio.wait({task}, timeout=5)

    assert task.cancelled()
    assert jobs.rights == {}


async def test_stopping_frees_the_leases(jobs):
    chore = Counted(gate=asyncio.Event())

    async with doing(jobs.leases, Chore("sweep", 0.001, chore)):
        await soon(lambda: chore.turns)

    assert jobs.rights == {}
    assert chore.cancelled == 1
