import pytest
from hypothesis import given
from hypothesis import strategies as st

from omma.domain.errors import BrokerUnreachable, StoreUnavailable
from omma.services import broadcast
from omma.services.broadcast import CHUNK, CURSOR, Publisher
from tests.job_fakes import MemoryJobs
from tests.streaming import submit


class FakeBroker:
    """Hears of events; while ``lets_through`` is not None it fails after so many."""

    def __init__(self):
        self.heard = []
        self.lets_through = None
        self.is_closed = False

    async def publish(self, events):
        if self.lets_through is None:
            self.heard += events
            return
        self.heard += events[: self.lets_through]
        raise BrokerUnreachable("the broker is away")

    async def close(self):
        self.is_closed = True


@pytest.fixture
def jobs():
    return MemoryJobs()


@pytest.fixture
def broker():
    return FakeBroker()


@pytest.fixture
async def publisher(jobs, broker):
    publisher = Publisher(jobs.log, jobs.cursors, broker)
    await publisher.run_once()
    return publisher


def seqs(broker):
    return [event.seq for event in broker.heard]


async def test_the_very_first_run_begins_at_the_logs_end(jobs, broker):
    await submit(jobs, "long ago")
    publisher = Publisher(jobs.log, jobs.cursors, broker)

    assert await publisher.run_once() == 0
    await submit(jobs, "now")
    assert await publisher.run_once() == 1

    assert [event.job_id for event in broker.heard] == ["now"]


async def test_all_that_is_new_is_published_in_order(jobs, broker, publisher):
    await submit(jobs, *(f"job {n}" for n in range(2 * CHUNK + 1)))

    assert await publisher.run_once() == 2 * CHUNK + 1
    assert await publisher.run_once() == 0

    assert seqs(broker) == list(range(1, 2 * CHUNK + 2))


async def test_another_process_goes_on_where_the_first_one_was(jobs, broker, publisher):
    await submit(jobs, "a")
    await publisher.run_once()
    await submit(jobs, "b")

    await Publisher(jobs.log, jobs.cursors, broker).run_once()

    assert [event.job_id for event in broker.heard] == ["a", "b"]


async def test_a_run_ends_in_time_for_its_lease(jobs, broker, publisher, monkeypatch):
    monkeypatch.setattr(broadcast, "BUDGET_S", 0.0)
    await submit(jobs, *(f"job {n}" for n in range(2 * CHUNK)))

    assert await publisher.run_once() == CHUNK
    assert await publisher.run_once() == CHUNK

    assert len(broker.heard) == 2 * CHUNK


async def test_without_the_database_nothing_is_lost(jobs, broker, publisher):
    await submit(jobs, "a")
    jobs.is_down = True
    with pytest.raises(StoreUnavailable):
        await publisher.run_once()
    jobs.is_down = False

    await publisher.run_once()

    assert seqs(broker) == [1]


async def test_closing_says_goodbye_to_the_broker(publisher, broker):
    await publisher.close()

    assert broker.is_closed


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 5)), max_size=20))
async def test_a_broker_that_fails_now_and_then_hears_all_at_least_once(rounds):
    """Each round submits some jobs, and the broker takes all, or so many before it fails."""
    jobs, broker = MemoryJobs(), FakeBroker()
    publisher = Publisher(jobs.log, jobs.cursors, broker)
    await publisher.run_once()
    for count, broker.lets_through in rounds:
        await submit(jobs, *(f"{jobs.seq}.{n}" for n in range(count)))
        await run_or_fail(publisher)
    broker.lets_through = None

    await publisher.run_once()

    assert list(dict.fromkeys(seqs(broker))) == list(range(1, jobs.seq + 1))
    assert await jobs.cursors.read(CURSOR) == jobs.seq


async def run_or_fail(publisher):
    try:
        await publisher.run_once()
    except BrokerUnreachable as error:
        assert error.code == "broker_unreachable"  # noqa: PT017  both are right
