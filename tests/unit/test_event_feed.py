import asyncio
import logging
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omma.domain.errors import (
    InvalidInput,
    JobNotFound,
    NotReady,
    Overloaded,
    RateLimited,
    StoreUnavailable,
)
from omma.domain.events import EventKind
from omma.domain.jobs import Completed, Failed, Failure, Hold, JobState, Submission
from omma.services.events import EventFeed, FeedOptions
from omma.services.overview import QueueOverview
from tests.job_fakes import MemoryJobs
from tests.logged import logged, messages

QUICK = FeedOptions(poll_interval_s=0.001, capacity=20, max_streams=2)
SHORT_S, LONG_S = 0.05, 5.0


@asynccontextmanager
async def feeding(jobs, options=QUICK):
    feed = EventFeed(jobs.log, jobs.store, options)
    await feed.start()
    try:
        yield feed
    finally:
        await feed.stop()


@pytest.fixture
def jobs():
    return MemoryJobs()


@pytest.fixture
async def feed(jobs):
    async with feeding(jobs) as feed:
        yield feed


def everything(_event):
    return True


async def submit(jobs, *names, owner="ada"):
    asked = [Submission(name, "face_detection", (), owner) for name in names]
    await jobs.store.submit(asked, quota=10**6)


async def run(jobs, outcome=None):
    [claim] = await jobs.queue.claim("runner", {"face_detection"}, limit=1, lease_s=60)
    await jobs.queue.settle([outcome(claim.hold) if outcome else Completed(claim.hold, {})])


def hopeless(hold: Hold):
    return Failed(hold, Failure("invalid_input", "no image"), None)


async def heard(follower, count):
    """So many events, in the order they came."""
    events = []
    while len(events) < count:
        more = await follower.next(patience_s=LONG_S)
        assert more, f"expected {count} events, heard {len(events)}"
        events += more
    return events


async def all_of(follower):
    events = []
    while not follower.has_ended:
        events += await follower.next(patience_s=LONG_S)
    return events


def kinds(events):
    return [event.kind for event in events]


def seqs(events):
    return [event.seq for event in events]


async def test_a_reader_hears_what_happens_after_it_came(jobs, feed):
    await submit(jobs, "before")
    follower = await feed.follow(jobs.seq, wants=everything)

    await submit(jobs, "a", "b")

    assert [event.job_id for event in await heard(follower, 2)] == ["a", "b"]


async def test_a_reader_hears_what_it_wants_alone(jobs, feed):
    follower = await feed.follow(0, wants=lambda event: event.owner == "bob")

    await submit(jobs, "hers")
    await submit(jobs, "his", owner="bob")

    assert [event.job_id for event in await heard(follower, 1)] == ["his"]


async def test_silence_is_answered_after_the_patience(feed):
    follower = await feed.follow(None, wants=everything)

    assert await follower.next(patience_s=SHORT_S) == []
    assert not follower.has_ended


async def test_what_happened_before_the_start_is_replayed_from_the_log(jobs):
    await submit(jobs, *(f"job {n}" for n in range(50)))

    async with feeding(jobs) as feed:
        follower = await feed.follow(10, wants=everything)

        assert seqs(await heard(follower, 40)) == list(range(11, 51))


async def test_the_log_is_read_when_it_has_changed_alone(jobs, monkeypatch):
    reads, after = [], jobs.log.after

    async def read(seq, **options):
        reads.append(seq)
        return await after(seq, **options)

    monkeypatch.setattr(jobs.log, "after", read)
    async with feeding(jobs) as feed:
        follower = await feed.follow(0, wants=everything)
        await submit(jobs, "j1")
        await heard(follower, 1)
        await asyncio.sleep(SHORT_S)
        before = len(reads)
        await asyncio.sleep(SHORT_S)

        assert len(reads) == before
        await submit(jobs, "j2")
        assert [event.job_id for event in await heard(follower, 1)] == ["j2"]


async def test_a_reader_that_falls_behind_the_ring_loses_nothing(jobs, feed):
    slow = await feed.follow(None, wants=everything)
    quick = await feed.follow(None, wants=everything)

    for n in range(5):
        await submit(jobs, *(f"job {n}.{m}" for m in range(15)))
        await heard(quick, 15)

    assert seqs(await heard(slow, 75)) == list(range(1, 76))


async def test_what_was_pruned_is_passed_over(jobs, feed):
    follower = await feed.follow(0, wants=everything)
    await submit(jobs, *(f"old {n}" for n in range(30)))
    jobs.advance(100)
    await submit(jobs, *(f"new {n}" for n in range(30)))
    await jobs.log.prune(older_than_s=50, limit=1000)

    assert seqs(await heard(follower, 30)) == list(range(31, 61))


@pytest.mark.parametrize("after", [1, 10**12])
async def test_a_place_that_the_log_has_not_reached_is_refused(feed, after):
    with pytest.raises(InvalidInput, match="at most 0"):
        await feed.follow(after, wants=everything)


async def test_a_replica_that_lags_behind_knows_the_place_that_another_told(jobs):
    async with feeding(jobs, FeedOptions(poll_interval_s=60)) as feed:
        await asyncio.sleep(0)
        await submit(jobs, "a")

        follower = await feed.follow(1, wants=everything)

        assert await follower.next(patience_s=0) == []


async def test_the_database_may_go_away_and_come_back(jobs, feed):
    follower = await feed.follow(0, wants=everything)
    await submit(jobs, "a")
    await heard(follower, 1)

    jobs.is_down = True
    silence = await follower.next(patience_s=SHORT_S)
    jobs.is_down = False
    await submit(jobs, "b")

    assert silence == []
    assert [event.job_id for event in await heard(follower, 1)] == ["b"]


async def test_a_reader_behind_the_ring_outlasts_an_absent_database(jobs, feed):
    slow = await feed.follow(0, wants=everything)
    quick = await feed.follow(0, wants=everything)
    await submit(jobs, *(f"job {n}" for n in range(50)))
    await heard(quick, 50)

    jobs.is_down = True
    silence = await slow.next(patience_s=SHORT_S)
    jobs.is_down = False

    assert silence == []
    assert len(await heard(slow, 50)) == 50


async def test_a_feed_that_starts_without_its_database_begins_when_it_comes(jobs):
    jobs.is_down = True
    async with feeding(jobs) as feed:
        with pytest.raises(StoreUnavailable):
            await feed.follow(None, wants=everything)
        jobs.is_down = False
        follower = await feed.follow(None, wants=everything)

        await submit(jobs, "a")

        assert len(await heard(follower, 1)) == 1


async def test_the_absence_of_the_database_is_logged_once(jobs, feed, caplog):
    follower = await feed.follow(None, wants=everything)

    jobs.is_down = True
    await follower.next(patience_s=SHORT_S)

    assert messages(caplog, "omma.services.events") == ["cannot read events"]


async def test_a_job_is_followed_from_its_beginning_to_its_end(jobs, feed):
    await submit(jobs, "a", "b")
    follower = await feed.follow_job("a", None)
    following = asyncio.create_task(all_of(follower))

    await run(jobs)
    await run(jobs)

    events = await asyncio.wait_for(following, LONG_S)
    assert kinds(events) == [EventKind.SUBMITTED, EventKind.STARTED, EventKind.COMPLETED]
    assert {event.job_id for event in events} == {"a"}


async def test_a_job_that_has_ended_is_replayed_and_over(jobs, feed):
    await submit(jobs, "a")
    await run(jobs)
    await submit(jobs, "b")

    events = await all_of(await feed.follow_job("a", 1))

    assert kinds(events) == [EventKind.STARTED, EventKind.COMPLETED]


async def test_who_has_heard_the_end_hears_nothing_more(jobs, feed):
    await submit(jobs, "a")
    await run(jobs)

    follower = await feed.follow_job("a", jobs.seq)

    assert follower.has_ended
    assert await follower.next(patience_s=LONG_S) == []


async def test_a_job_whose_events_were_pruned_is_over_at_once(jobs):
    await submit(jobs, "a")
    await run(jobs)
    jobs.advance(100)
    await jobs.log.prune(older_than_s=1, limit=1000)

    async with feeding(jobs) as feed:
        assert await all_of(await feed.follow_job("a", None)) == []


async def test_a_retried_job_goes_on_after_its_earlier_end(jobs, feed):
    await submit(jobs, "a")
    await run(jobs, hopeless)
    await jobs.control.retry("a")
    following = asyncio.create_task(all_of(await feed.follow_job("a", None)))

    await run(jobs)

    events = await asyncio.wait_for(following, LONG_S)
    assert kinds(events)[-4:] == ["job_failed", "job_retrying", "job_started", "job_completed"]


async def test_a_deleted_job_ends_its_stream(jobs, feed):
    await submit(jobs, "a")
    following = asyncio.create_task(all_of(await feed.follow_job("a", None)))

    await jobs.control.delete("a", limit=1)

    heard = kinds(await asyncio.wait_for(following, LONG_S))
    assert heard[:2] == ["job_submitted", "job_cancelled"]


async def test_there_is_no_stream_of_an_unknown_job(feed):
    with pytest.raises(JobNotFound):
        await feed.follow_job("nobody", None)


async def test_stopping_ends_every_reader(feed):
    followers = [await feed.follow(None, wants=everything) for _ in range(3)]
    waiting = [asyncio.create_task(each.next(patience_s=60)) for each in followers]
    await asyncio.sleep(0)

    await feed.stop()

    assert await asyncio.wait_for(asyncio.gather(*waiting), LONG_S) == [[], [], []]
    assert all(follower.has_ended for follower in followers)


async def test_there_are_so_many_streams_and_no_more(feed):
    with feed.admit("ada"), feed.admit("bob"):
        assert feed.streams == 2
        with pytest.raises(Overloaded, match="2 event streams"), feed.admit("cy"):
            pass

    assert feed.streams == 0


async def test_one_subject_leaves_places_to_the_others(jobs):
    async with feeding(jobs, FeedOptions(max_streams=4, max_streams_per_subject=2)) as feed:
        with feed.admit("ada"), feed.admit("ada"):
            with pytest.raises(RateLimited, match="2 event streams"), feed.admit("ada"):
                pass
            with feed.admit("bob"):
                assert feed.streams == 3

        with feed.admit("ada"):
            assert feed.streams == 1


async def test_who_shows_no_token_leaves_three_places_in_four(jobs):
    async with feeding(jobs, FeedOptions(max_streams=8)) as feed:
        with feed.admit(None), feed.admit(None):
            with pytest.raises(Overloaded, match="without a token"), feed.admit(None):
                pass
            with feed.admit("ada"):
                assert feed.streams == 3


async def test_a_feed_that_has_stopped_admits_nobody(feed):
    await feed.stop()

    with pytest.raises(NotReady), feed.admit("ada"):
        pass


async def test_a_cancelled_reader_keeps_its_place(jobs, feed):
    follower = await feed.follow(None, wants=everything)
    waiting = asyncio.create_task(follower.next(patience_s=60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    await submit(jobs, "a")

    assert len(await heard(follower, 1)) == 1


async def test_a_fault_that_nobody_foresaw_is_logged_and_gone_after_it(jobs, monkeypatch, caplog):
    faults = [ValueError("one"), KeyError("two")]
    read = jobs.log.after

    async def after(*args, **options):
        if faults:
            raise faults.pop()
        return await read(*args, **options)

    monkeypatch.setattr(jobs.log, "after", after)
    async with feeding(jobs) as feed, asyncio.timeout(LONG_S):
        while faults:  # noqa: ASYNC110  nobody tells of it
            await asyncio.sleep(0.001)
        follower = await feed.follow(jobs.seq, wants=everything)
        await submit(jobs, "a")

        assert [event.job_id for event in await heard(follower, 1)] == ["a"]
        feed.check()
    assert len(logged(caplog, "omma.services.events", logging.ERROR)) == 2


async def test_a_feed_whose_tailer_has_died_is_not_well(jobs):
    feed = EventFeed(jobs.log, jobs.store, QUICK)
    feed.check()
    await feed.start()
    feed.check()

    feed._tailer.cancel()  # noqa: SLF001  no fault ends it
    await asyncio.gather(feed._tailer, return_exceptions=True)  # noqa: SLF001

    with pytest.raises(NotReady, match="nobody reads events"):
        feed.check()


async def test_a_feed_that_was_stopped_is_well(feed):
    await feed.stop()

    feed.check()


async def test_the_queue_is_read_once_for_all_who_look(jobs, feed):
    await submit(jobs, "a")

    looks = await asyncio.gather(*(feed.queue.of("ada") for _ in range(50)))

    assert len({id(look) for look in looks}) == 1
    assert [job.job_id for job in looks[0].active] == ["a"]
    assert looks[0].active_count == 1


async def test_the_queue_shows_each_owner_its_own(jobs, feed):
    await submit(jobs, "hers")
    await submit(jobs, "his", owner="bob")
    await run(jobs)

    hers, all_ = await feed.queue.of("ada"), await feed.queue.of("")

    assert (hers.active, [job.job_id for job in hers.recent]) == ((), ["hers"])
    assert hers.recent[0].state is JobState.COMPLETED
    assert [job.job_id for job in all_.active] == ["his"]


async def test_more_owners_than_are_remembered_are_all_answered(jobs):
    await submit(jobs, "hers")
    overview = QueueOverview(jobs.store, most_owners=2)

    looks = await asyncio.gather(*map(overview.of, ("ada", "bob", "eve", "zoe")))

    assert [len(look.active) for look in looks] == [1, 0, 0, 0]


async def test_the_owner_asked_for_least_recently_is_forgotten(jobs):
    overview = QueueOverview(jobs.store, fresh_s=3600, most_owners=2)
    hers, bobs = await overview.of("ada"), await overview.of("bob")
    await overview.of("ada")

    await overview.of("eve")

    assert await overview.of("ada") is hers
    assert await overview.of("bob") is not bobs


STEPS = ["append", "append", "tick", "tick", "read", "resume", "down", "up"]
steps = st.lists(
    st.tuples(st.sampled_from(STEPS), st.integers(0, 6)),
    min_size=20,
    max_size=80,
)


@settings(max_examples=30)
@given(steps=steps, capacity=st.integers(1, 8))
async def test_every_reader_hears_exactly_what_it_may_in_order(steps, capacity):
    """Whoever is slow, comes back with its last id, or reads while the database is away."""
    jobs = MemoryJobs()
    options = FeedOptions(poll_interval_s=0.0001, capacity=capacity)
    async with feeding(jobs, options) as one, feeding(jobs, options) as other:
        readers = [Reader(one, "ada"), Reader(other, "bob"), Reader(one, "bob")]
        for reader in readers:
            await reader.resume()
        for step, n in steps:
            reader = readers[n % len(readers)]
            match step:
                case "append":
                    names = [f"{jobs.seq}.{m}" for m in range(n)]
                    if not jobs.is_down:
                        await submit(jobs, *names, owner=("ada", "bob")[n % 2])
                case "read":
                    await reader.read(0)
                case "resume":
                    await reader.resume(other if n % 2 else one)
                case "down" | "up":
                    jobs.is_down = step == "down"
                case _:
                    await asyncio.sleep(0.0002)
        jobs.is_down = False

        for reader in readers:
            expected = [e.seq for e in jobs.events if e.owner == reader.owner]
            await reader.read_until(expected)


class Reader:
    """Comes back with the last id it heard, as browsers do."""

    def __init__(self, feed, owner):
        self.feed, self.owner = feed, owner
        self.heard = []
        self.follower = None

    async def resume(self, feed=None):
        self.feed = feed or self.feed
        last = self.heard[-1] if self.heard else 0
        with suppress(StoreUnavailable):
            self.follower = await self.feed.follow(last, wants=lambda e: e.owner == self.owner)

    async def read(self, patience_s):
        self.heard += seqs(await self.follower.next(patience_s=patience_s))

    async def read_until(self, expected):
        while len(self.heard) < len(expected):
            count = len(self.heard)
            await self.read(LONG_S)
            assert len(self.heard) > count
        assert self.heard == expected
