"""Whatever clients, runners and the clock do: one holder a job, one end a job, none lost."""

import asyncio
import itertools
import shutil
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from omma.domain.errors import DuplicateJob, JobStateConflict
from omma.domain.jobs import Completed, Failed, Failure, JobFilter, JobState, Progress
from tests.databases import empty_postgres
from tests.job_records import opened_records, submission

LEASE_S = 30
BROKEN = Failure("broken", "it broke")
RUNNERS = st.sampled_from(["r1", "r2", "r3"])
ENDS = {"job_completed", "job_failed", "job_cancelled"}


@dataclass
class Expected:
    """What one job must be, by the rules of this file alone."""

    number: int
    priority: int
    max_retries: int
    media: str
    state: JobState = JobState.PENDING
    attempt: int = 0
    retries: int = 0
    available_at: int = 0
    lease_until: int = 0
    result: dict | None = None

    @property
    def is_active(self):
        return not self.state.has_ended


@dataclass
class Given:
    """A hold as some runner remembers it, perhaps long after it became void."""

    hold: object
    told: list = field(default_factory=list)  # outcomes that were accepted


class QueueMachine(RuleBasedStateMachine):
    """Rules act on the records and on what is expected of them; the invariants compare."""

    kind = "memory"
    fresh_url = None  # answers the URL of a fresh database of a kind

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.exits = AsyncExitStack()
        opening = opened_records(self.kind, type(self).fresh_url)
        self.records = self.wait(self.exits.enter_async_context(opening))
        self.expected = {}
        self.given = []
        self.deleted = set()
        self.numbers = itertools.count()

    def teardown(self):
        self.wait(self.exits.aclose())
        self.loop.close()

    def wait(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    def some_holds(self, data, most):
        """Mostly such as stand: of all that were ever given, those are few."""
        valid = [given for given in self.given if self.is_valid(given.hold)]
        wants_valid = data.draw(st.sampled_from([True, True, True, False]))
        chosen = valid if valid and wants_valid else self.given
        return data.draw(st.lists(st.sampled_from(chosen), min_size=1, max_size=most))

    def is_valid(self, hold):
        job = self.expected.get(hold.job_id)
        return job is not None and job.state is JobState.PROCESSING and job.attempt == hold.attempt

    def is_media_active(self, media):
        return media and any(job.is_active and job.media == media for job in self.expected.values())

    @initialize()
    def begin(self):
        asked = [submission(f"j{next(self.numbers)}", max_retries=n) for n in (0, 1, 2)]
        for one in self.wait(self.records.store.submit(asked, quota=1000)):
            number = int(one.job_id[1:])
            job = Expected(number, one.asked.priority, one.asked.max_retries, "")
            job.available_at = self.records.now_ms
            self.expected[one.job_id] = job
        self.claim("r1", 2)

    @rule(
        many=st.lists(
            st.tuples(st.integers(0, 10), st.integers(0, 2), st.sampled_from(["", "", "m1", "m2"])),
            min_size=1,
            max_size=4,
        )
    )
    def submit(self, many):
        asked = []
        for priority, max_retries, media in many:
            more = {"priority": priority, "max_retries": max_retries, "media_store_id": media}
            asked.append(submission(f"j{next(self.numbers)}", **more))
        outcomes = self.wait(self.records.store.submit(asked, quota=1000))
        for one, outcome in zip(asked, outcomes, strict=True):
            if self.is_media_active(one.media_store_id):
                assert isinstance(outcome, DuplicateJob)
                continue
            job = Expected(int(one.job_id[1:]), one.priority, one.max_retries, one.media_store_id)
            job.available_at = self.records.now_ms
            self.expected[outcome.job_id] = job

    @rule(runner=RUNNERS, limit=st.integers(1, 4))
    def claim(self, runner, limit):
        waiting = [
            (-job.priority, job.number, job_id)
            for job_id, job in self.expected.items()
            if job.state is JobState.PENDING and job.available_at <= self.records.now_ms
        ]
        claims = self.wait(
            self.records.queue.claim(runner, ["face_detection"], limit=limit, lease_s=LEASE_S)
        )
        assert [c.job.job_id for c in claims] == [job_id for *_, job_id in sorted(waiting)][:limit]
        for claimed in claims:
            job = self.expected[claimed.job.job_id]
            job.state = JobState.PROCESSING
            job.attempt += 1
            job.lease_until = self.records.now_ms + LEASE_S * 1000
            assert claimed.hold.attempt == claimed.job.attempt == job.attempt
            self.given.append(Given(claimed.hold))

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def renew(self, data):
        some = self.some_holds(data, 4)
        holds = [given.hold for given in some]

        void = self.wait(self.records.queue.renew(holds, lease_s=LEASE_S))

        assert void == {hold for hold in holds if not self.is_valid(hold)}
        for hold in set(holds) - void:
            self.expected[hold.job_id].lease_until = self.records.now_ms + LEASE_S * 1000

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def report(self, data):
        [given] = self.some_holds(data, 1)
        self.wait(self.records.queue.report([(given.hold, Progress(1, 2))]))

    @precondition(lambda self: self.given)
    @rule(data=st.data(), outcome=st.sampled_from(["completed", "retry", "permanent"]))
    def settle(self, data, outcome):
        some = self.some_holds(data, 3)
        outcomes = [_outcome(given.hold, outcome) for given in some]

        refused = self.wait(self.records.queue.settle(outcomes))

        for given, told in zip(some, outcomes, strict=True):
            if self.is_valid(given.hold):
                assert given.hold not in refused
                self.expect(told)
                given.told.append(outcome)
            else:
                assert (given.hold in refused) == (not self.is_repeated(given, outcome))

    def is_repeated(self, given, outcome):
        """Both failures are recorded alike, so that one repeats the other."""
        alike = {"permanent": "retry"}
        told = [alike.get(each, each) for each in given.told]
        return given.hold.job_id in self.expected and alike.get(outcome, outcome) in told

    def expect(self, outcome):
        job = self.expected[outcome.hold.job_id]
        if isinstance(outcome, Completed):
            job.state, job.result = JobState.COMPLETED, outcome.result
        else:
            self.expect_failure(job, outcome.delay_s)

    def expect_failure(self, job, delay_s):
        if delay_s is None or job.retries >= job.max_retries:
            job.state = JobState.ERROR
            return
        job.state = JobState.PENDING
        job.retries += 1
        job.available_at = self.records.now_ms + round(delay_s * 1000)

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def release(self, data):
        [given] = self.some_holds(data, 1)
        is_valid = self.is_valid(given.hold)

        self.wait(self.records.queue.release([given.hold]))

        if is_valid:
            self.expected[given.hold.job_id].state = JobState.PENDING

    @rule(seconds=st.sampled_from([0.5, 1, 10, 29, 31]))
    def advance(self, seconds):
        self.records.advance(seconds)

    @rule()
    def expire(self):
        late = [
            job
            for job in self.expected.values()
            if job.state is JobState.PROCESSING and job.lease_until < self.records.now_ms
        ]

        assert self.wait(self.records.queue.expire(limit=1000)) == len(late)

        for job in late:
            self.expect_failure(job, 1)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def cancel(self, data):
        job_id = data.draw(st.sampled_from(sorted(self.expected)))
        job = self.expected[job_id]
        if job.is_active:
            job.state = JobState.CANCELLED

        assert self.wait(self.records.control.cancel(job_id)).state is job.state

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def retry(self, data):
        ended = [job_id for job_id, job in self.expected.items() if not job.is_active]
        job_id = data.draw(st.sampled_from(sorted(ended or self.expected)))
        job = self.expected[job_id]
        try:
            self.wait(self.records.control.retry(job_id))
        except JobStateConflict:
            assert job.state not in {JobState.ERROR, JobState.CANCELLED}
        except DuplicateJob:
            assert self.is_media_active(job.media)
        else:
            assert job.state in {JobState.ERROR, JobState.CANCELLED}
            assert not self.is_media_active(job.media)
            job.state, job.retries = JobState.PENDING, 0
            job.available_at = self.records.now_ms

    @precondition(lambda self: len(self.expected) > 3)
    @rule(data=st.data())
    def delete(self, data):
        job_id = data.draw(st.sampled_from(sorted(self.expected)))

        assert self.wait(self.records.control.delete(job_id, limit=1)).jobs == 1

        del self.expected[job_id]
        self.deleted.add(job_id)

    @invariant()
    def every_job_is_where_it_should_be_and_none_is_lost(self):
        page = self.wait(self.records.store.page(JobFilter(), cursor="", limit=1000))
        jobs = [self.wait(self.records.store.get(job.job_id)) for job in page.jobs]
        found = {job.job_id: (job.state, job.attempt, job.retry_count, job.result) for job in jobs}
        assert found == {
            job_id: (job.state, job.attempt, job.retries, job.result)
            for job_id, job in self.expected.items()
        }

    @invariant()
    def one_runner_holds_a_job_and_it_runs(self):
        active = self.wait(self.records.store.active("", 1000))
        running = {job.job_id for job in active if job.state is JobState.PROCESSING}
        assert {job.job_id for job in active} == {
            job_id for job_id, job in self.expected.items() if job.is_active
        }
        assert running == {g.hold.job_id for g in self.given if self.is_valid(g.hold)}

    @invariant()
    def events_have_no_gaps_and_every_end_is_told_once(self):
        events = self.wait(self.records.log.after(0, limit=10_000))
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        ended = set()
        for event in events:
            if event.kind.value in ENDS | {"job_deleted"}:
                assert (event.job_id, event.kind.value in ENDS) not in ended
                ended.add((event.job_id, event.kind.value in ENDS))
            elif event.kind.value == "job_retrying":
                ended.discard((event.job_id, True))
            else:
                assert (event.job_id, True) not in ended
        assert {job_id for job_id, is_end in ended if not is_end} == self.deleted


@pytest.fixture
def fresh_urls(request, tmp_path):
    """Answers the URL of a fresh database of a kind: each example has its own."""
    numbers = itertools.count()
    with ExitStack() as made:

        def fresh(kind):
            template = request.getfixturevalue(f"{kind}_template")
            if kind == "sqlite":
                return f"sqlite:///{shutil.copy(template, tmp_path / f'{next(numbers)}.db')}"
            server = request.getfixturevalue("postgres")
            return made.enter_context(empty_postgres(server, "machine", template))

        yield fresh


def _outcome(hold, outcome):
    if outcome == "completed":
        return Completed(hold, {"attempt": hold.attempt}, {"n": 1})
    return Failed(hold, BROKEN, 5 if outcome == "retry" else None)


def _run(machine, *, examples, steps):
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_the_queue_in_memory_holds_whatever_happens():
    _run(QueueMachine, examples=50, steps=40)


def test_the_queue_in_sqlite_holds_whatever_happens(fresh_urls):
    class SqliteMachine(QueueMachine):
        kind = "sqlite"
        fresh_url = staticmethod(fresh_urls)

    _run(SqliteMachine, examples=10, steps=30)


def test_the_queue_in_postgres_holds_whatever_happens(fresh_urls):
    class PostgresMachine(QueueMachine):
        kind = "postgres"
        fresh_url = staticmethod(fresh_urls)

    _run(PostgresMachine, examples=5, steps=30)
