"""How an idle runner looks for work."""

from types import SimpleNamespace

import pytest

from omma.domain.jobs import Submission
from omma.services.attempts import Backoff
from omma.services.claiming import LOOKS, Claiming
from omma.services.outages import Outages
from tests.job_fakes import MemoryJobs


class Counted:
    """A queue that counts its claims."""

    def __init__(self, queue):
        self.changes = queue.changes
        self._claim = queue.claim
        self.claims = 0

    async def claim(self, *args, **options):
        self.claims += 1
        return await self._claim(*args, **options)


@pytest.fixture
def jobs():
    return MemoryJobs()


@pytest.fixture
def queue(jobs):
    return Counted(jobs.queue)


@pytest.fixture
def time():
    return SimpleNamespace(s=0.0)


@pytest.fixture
def outages(time):
    return Outages(Backoff(1.0, 1.0), clock=lambda: time.s)


@pytest.fixture
def claiming(queue, outages):
    return Claiming(queue, ["reading"], outages, runner="r", lease_s=30, chunk=8)


async def submit(jobs, name="j1"):
    await jobs.store.submit([Submission(name, "reading", (), "ada")], quota=10)


async def looks(claiming, count):
    """The jobs that so many looks found, of each."""
    taken = [await claiming.take(32) for _ in range(count)]
    return [[claim.hold.job_id for claim in claims] for claims in taken]


async def test_of_the_looks_at_an_unchanged_queue_few_claim(claiming, queue):
    await looks(claiming, 5 * LOOKS)

    assert queue.claims == 5


async def test_what_is_submitted_is_taken_by_the_next_look(claiming, jobs):
    for name in ("j1", "j2"):
        await looks(claiming, 2)
        await submit(jobs, name)
        assert await looks(claiming, 1) == [[name]]


async def test_a_job_whose_time_has_come_is_taken_though_nothing_changed(claiming, jobs):
    await submit(jobs)
    jobs.rows["j1"].available_at = jobs.now_ms + 5000
    await looks(claiming, 1)

    jobs.advance(6)

    assert ["j1"] in await looks(claiming, LOOKS)


async def test_each_probe_of_an_outage_claims(claiming, outages, queue, time):
    outages.began("reading")

    for _ in range(5):
        time.s += 60
        await looks(claiming, 1)

    assert queue.claims == 5


async def test_after_a_claim_that_failed_the_next_look_claims(claiming, jobs, queue):
    await looks(claiming, 1)
    jobs.is_down = True
    await looks(claiming, 1)
    jobs.is_down = False
    queue.claims = 0

    await looks(claiming, 1)

    assert queue.claims == 1
