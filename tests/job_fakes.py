"""Every record of durable jobs in memory, by a clock that tests set.

`MemoryJobs` is the state; its facets are the ports: ``store control batches queue log cursors
leases sweeps deliveries``. Set ``is_down`` and all of them raise `StoreUnavailable`.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace

from omma.domain.errors import (
    BatchNotFound,
    DuplicateJob,
    IdempotencyConflict,
    InvalidInput,
    JobStateConflict,
    QuotaExceeded,
    StoreUnavailable,
)
from omma.domain.events import Event, EventKind
from omma.domain.jobs import (
    Batch,
    Claim,
    Completed,
    Counts,
    Failed,
    Failure,
    Hold,
    Job,
    JobPage,
    JobState,
    Removed,
    attempt_folder,
    result_folder,
    upload_folder,
)
from omma.ports.deliveries import EVERYBODY, Delivery, DeliveryKind, origin_of
from omma.stores.records.database import from_ms, to_ms
from omma.stores.records.rows import clean, is_recordable

EXPIRED_DELAY_S = 1.0
SECOND_LOOK_S = 3600.0  # a paused writer may write as late as that


@dataclass
class Row:
    """A job and what the records keep beside it."""

    id: int
    job: Job
    is_queued: bool = True
    available_at: int | None = None  # none while its batch is open
    runner: str = ""  # empty while it waits
    lease_until: int = 0
    has_files: bool = False
    is_moved: bool = False

    @property
    def age_order(self):
        return -self.job.asked.priority, self.id


@dataclass
class OpenBatch:
    owner: str
    operation: str
    created_at: int
    closed_at: int | None = None


@dataclass
class Due:
    """A delivery: ``due_at`` is none once it is over."""

    id: int
    kind: DeliveryKind
    job_id: str
    due_at: int | None
    tries: int = 0
    status: str = "pending"
    error: str = ""


@dataclass
class MemoryJobs:
    """One state behind all ports; ``now_ms`` is its clock."""

    now_ms: int = 1_700_000_000_000
    media_store: bool = False
    default_callback: bool = False
    is_down: bool = False
    rows: dict = field(default_factory=dict)  # job_id: Row
    attempts: dict = field(default_factory=dict)  # hold: (outcome, code), none while it runs
    opened: dict = field(default_factory=dict)  # batch_id: OpenBatch
    events: list = field(default_factory=list)
    seq: int = 0
    marks: dict = field(default_factory=dict)  # cursors
    rights: dict = field(default_factory=dict)  # leases
    folders: dict = field(default_factory=dict)  # sweeps: [due_at, passes]
    to_deliver: dict = field(default_factory=dict)  # (kind, job_id): Due
    ids: int = 0

    def __post_init__(self):
        self.store = MemoryStore(self)
        self.control = MemoryControl(self)
        self.batches = MemoryBatches(self)
        self.queue = MemoryQueue(self)
        self.log = MemoryLog(self)
        self.cursors = MemoryCursors(self)
        self.leases = MemoryLeases(self)
        self.sweeps = MemorySweeps(self)
        self.deliveries = MemoryDeliveries(self)

    def advance(self, seconds):
        self.now_ms += round(seconds * 1000)

    def check(self):
        if self.is_down:
            raise StoreUnavailable("the database does not answer", 5)

    def next_id(self):
        self.ids += 1
        return self.ids

    def tell(self, kind, job, **more):
        self.seq += 1
        asked = job.asked
        data = {"operation": asked.operation, "state": job.state.value, "attempt": job.attempt}
        at = from_ms(self.now_ms)
        self.events.append(Event(self.seq, kind, job.job_id, asked.owner, at, data | more))

    def held(self, hold):
        row = self.rows.get(hold.job_id)
        mine = row and row.is_queued and row.runner and row.job.attempt == hold.attempt
        return row if mine else None

    def end(self, row, state, *, failure=None, **more):
        """End the job in this state; what follows of it depends on the state."""
        row.is_queued = False
        row.runner = ""
        at = from_ms(self.now_ms)
        row.job = replace(row.job, state=state, completed_at=at, failure=failure, **more)
        if state is JobState.CANCELLED:
            return
        if row.job.asked.callback_url or self.default_callback:
            self.deliver(DeliveryKind.CALLBACK, row.job.job_id)
        if state is JobState.COMPLETED and self.media_store and row.job.asked.media_store_id:
            self.deliver(DeliveryKind.MEDIA_STORE, row.job.job_id)

    def deliver(self, kind, job_id):
        self.to_deliver[kind, job_id] = Due(self.next_id(), kind, job_id, self.now_ms)

    def fail(self, row, hold, failure, delay_s, *, counts=True):
        failure = replace(failure, message=clean(failure.message))
        self.attempts[hold] = ("failed", failure.code)
        self.sweep_now(attempt_folder(hold))
        told = {"code": failure.code, "message": failure.message}
        job = row.job
        if delay_s is None or (counts and job.retry_count >= job.asked.max_retries):
            self.end(row, JobState.ERROR, failure=failure)
            self.tell(EventKind.FAILED, row.job, failure=told)
            return
        row.runner = ""
        row.available_at = self.now_ms + round(delay_s * 1000)
        row.job = replace(
            job,
            state=JobState.PENDING,
            progress=None,
            retry_count=job.retry_count + counts,
        )
        self.tell(EventKind.RETRYING, row.job, failure=told)

    def cancel(self, row):
        hold = Hold(row.job.job_id, row.job.attempt)
        if row.runner:
            self.attempts[hold] = ("cancelled", "")
            self.sweep_now(attempt_folder(hold))
        self.end(row, JobState.CANCELLED)
        self.tell(EventKind.CANCELLED, row.job)

    def remove(self, rows):
        for row in rows:
            job_id = row.job.job_id
            del self.rows[job_id]
            self.attempts = {h: end for h, end in self.attempts.items() if h.job_id != job_id}
            for kind in DeliveryKind:
                self.to_deliver.pop((kind, job_id), None)
            for folder in (f"attempts/{job_id}", result_folder(job_id), upload_folder(job_id)):
                self.folders[folder] = [self.now_ms, 0]
            if row.is_queued:
                row.job = replace(row.job, state=JobState.CANCELLED)
                self.tell(EventKind.CANCELLED, row.job)
            self.tell(EventKind.DELETED, row.job)

    def sweep_now(self, folder):
        if folder in self.folders:
            self.folders[folder][0] = self.now_ms

    def matching(self, wanted):
        rows = sorted(self.rows.values(), key=lambda row: -row.id)
        return [row for row in rows if self._matches(row.job, wanted)]

    def _matches(self, job, wanted):
        age_ms = self.now_ms - to_ms(job.created_at)
        return (
            (not wanted.owner or job.asked.owner == wanted.owner)
            and (not wanted.states or job.state in wanted.states)
            and (not wanted.operation or job.asked.operation == wanted.operation)
            and (not wanted.batch_id or job.asked.batch_id == wanted.batch_id)
            and (wanted.older_than_s is None or age_ms > wanted.older_than_s * 1000)
        )


@dataclass
class _Facet:
    all: MemoryJobs


class MemoryStore(_Facet):
    """JobStore."""

    async def submit(self, submissions, *, quota):
        self.all.check()
        return [self._submit(submission, quota) for submission in submissions]

    def _submit(self, asked, quota):
        if not is_recordable(asked):
            return InvalidInput("expected texts without NUL and without halves of characters")
        rows = list(self.all.rows.values())
        batch = self.all.opened.get(asked.batch_id)
        if asked.batch_id and batch is None:
            return BatchNotFound(asked.batch_id)
        for row in rows:
            known = row.job.asked
            if asked.idempotency_key and (known.owner, known.idempotency_key) == (
                asked.owner,
                asked.idempotency_key,
            ):
                return (
                    row.job
                    if _request(known) == _request(asked)
                    else IdempotencyConflict(
                        f"the key {asked.idempotency_key!r} was used for another request"
                    )
                )
        if asked.media_store_id and any(
            row.is_queued
            and row.job.asked.media_store_id == asked.media_store_id
            and row.job.asked.operation == asked.operation
            for row in rows
        ):
            return DuplicateJob(
                f"a job of {asked.operation!r} for {asked.media_store_id!r} waits or runs already"
            )
        waiting = [
            r for r in rows if r.is_queued and not r.runner and r.job.asked.owner == asked.owner
        ]
        if len(waiting) >= quota:
            return QuotaExceeded(f"expected at most {quota} waiting jobs of one owner")
        return self._enqueue(asked, is_open=batch is not None and batch.closed_at is None)

    def _enqueue(self, asked, *, is_open):
        asked = replace(asked, params=_json(asked.params), not_before=_rounded(asked.not_before))
        job = Job(asked, JobState.PENDING, from_ms(self.all.now_ms))
        start = to_ms(asked.not_before) if asked.not_before else 0
        row = Row(self.all.next_id(), job)
        row.available_at = None if is_open else max(self.all.now_ms, start)
        self.all.rows[job.job_id] = row
        self.all.folders.pop(upload_folder(job.job_id), None)
        self.all.tell(EventKind.SUBMITTED, job)
        return job

    async def get(self, job_id):
        self.all.check()
        row = self.all.rows.get(job_id)
        return row.job if row else None

    async def page(self, wanted, *, cursor, limit):
        self.all.check()
        if cursor and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
            raise InvalidInput(f"expected a cursor that a page gave, got {cursor!r}")
        rows = [r for r in self.all.matching(wanted) if not cursor or r.id < int(cursor)]
        more = str(rows[limit - 1].id) if len(rows) > limit else ""
        return JobPage(tuple(_listed(row) for row in rows[:limit]), more)

    async def counts(self, owner=""):
        self.all.check()
        rows = [r for r in self.all.rows.values() if not owner or r.job.asked.owner == owner]
        queued = sum(row.is_queued and not row.runner for row in rows)
        return Counts(_by_state(rows), queued)

    async def active(self, owner, limit):
        self.all.check()
        rows = [
            row
            for row in self.all.rows.values()
            if row.is_queued and (not owner or row.job.asked.owner == owner)
        ]
        rows.sort(key=lambda row: (not row.runner, *row.age_order))
        return [_listed(row) for row in rows[:limit]]


def _listed(row):
    return replace(row.job, result=None, metrics=None)


class MemoryControl(_Facet):
    """JobControl."""

    async def cancel(self, job_id):
        self.all.check()
        row = self.all.rows.get(job_id)
        if row and row.is_queued:
            self.all.cancel(row)
        return row.job if row else None

    async def retry(self, job_id):
        self.all.check()
        row = self.all.rows.get(job_id)
        if row is None:
            return None
        match row.job.state:
            case JobState.SYNC_FAILED:
                self.all.deliver(DeliveryKind.MEDIA_STORE, job_id)
                row.job = replace(row.job, state=JobState.COMPLETED, failure=None)
            case JobState.ERROR | JobState.CANCELLED:
                self._enqueue_anew(row)
            case state:
                raise JobStateConflict(f"a job that is {state.value} cannot be retried")
        self.all.tell(EventKind.RETRYING, row.job)
        return row.job

    def _enqueue_anew(self, row):
        asked = row.job.asked
        for other in self.all.rows.values():
            same = (asked.media_store_id, asked.operation)
            theirs = (other.job.asked.media_store_id, other.job.asked.operation)
            if asked.media_store_id and other.is_queued and same == theirs:
                raise DuplicateJob(
                    f"a job of {asked.operation!r} for {asked.media_store_id!r}"
                    " waits or runs already"
                )
        batch = self.all.opened.get(asked.batch_id)
        row.is_queued = True
        row.available_at = None if batch and batch.closed_at is None else self.all.now_ms
        self.all.to_deliver.pop((DeliveryKind.CALLBACK, row.job.job_id), None)
        row.job = replace(
            row.job,
            state=JobState.PENDING,
            started_at=None,
            completed_at=None,
            retry_count=0,
            failure=None,
            progress=None,
        )

    async def delete(self, wanted, *, limit):
        self.all.check()
        if isinstance(wanted, str):
            rows = [self.all.rows[wanted]] if wanted in self.all.rows else []
        else:
            rows = self.all.matching(wanted)[::-1]
        rows = rows[:limit]
        queued = sum(row.is_queued for row in rows)
        self.all.remove(rows)
        job_ids = tuple(row.job.job_id for row in rows)
        return Removed(jobs=len(rows), queue_entries=queued, job_ids=job_ids)


class MemoryBatches(_Facet):
    """BatchStore."""

    async def open(self, batch_id, owner, operation):
        self.all.check()
        self.all.opened[batch_id] = OpenBatch(owner, operation, self.all.now_ms)

    async def close(self, batch_id):
        self.all.check()
        batch = self.all.opened.get(batch_id)
        if batch is None:
            raise BatchNotFound(batch_id)
        if batch.closed_at is not None:
            return
        batch.closed_at = self.all.now_ms
        for row in self._rows(batch_id):
            if row.available_at is None:
                start = row.job.asked.not_before
                row.available_at = max(self.all.now_ms, to_ms(start) if start else 0)

    async def abandon(self, batch_id):
        self.all.check()
        batch = self.all.opened.get(batch_id)
        if batch and batch.closed_at is None:
            self.all.remove(self._rows(batch_id))
            del self.all.opened[batch_id]

    async def get(self, batch_id):
        self.all.check()
        batch = self.all.opened.get(batch_id)
        if batch is None:
            return None
        rows = self._rows(batch_id)
        at = from_ms(batch.created_at)
        return Batch(batch_id, batch.owner, batch.operation, at, len(rows), _by_state(rows))

    async def cancel(self, batch_id):
        self.all.check()
        rows = [row for row in self._rows(batch_id) if row.is_queued]
        for row in rows:
            self.all.cancel(row)
        return len(rows)

    async def stale(self, older_than_s):
        self.all.check()
        before = self.all.now_ms - older_than_s * 1000
        return [
            batch_id
            for batch_id, batch in self.all.opened.items()
            if batch.closed_at is None and self._touched_at(batch_id) < before
        ]

    def _touched_at(self, batch_id):
        items = [to_ms(row.job.created_at) for row in self._rows(batch_id)]
        return max([self.all.opened[batch_id].created_at, *items])

    def _rows(self, batch_id):
        return [row for row in self.all.rows.values() if row.job.asked.batch_id == batch_id]


class MemoryQueue(_Facet):
    """JobQueue and QueueDepth."""

    async def claim(self, runner, operations, *, limit, lease_s):
        self.all.check()
        waiting = [row for row in self._waiting() if row.job.asked.operation in operations]
        waiting.sort(key=lambda row: row.age_order)
        return [self._claim(row, runner, lease_s) for row in waiting[:limit]]

    def _waiting(self):
        now = self.all.now_ms
        return [
            row
            for row in self.all.rows.values()
            if row.is_queued
            and not row.runner
            and row.available_at is not None
            and row.available_at <= now
        ]

    def _claim(self, row, runner, lease_s):
        row.runner = runner
        row.lease_until = self.all.now_ms + round(lease_s * 1000)
        row.job = replace(
            row.job,
            state=JobState.PROCESSING,
            attempt=row.job.attempt + 1,
            started_at=row.job.started_at or from_ms(self.all.now_ms),
            progress=None,
        )
        hold = Hold(row.job.job_id, row.job.attempt)
        self.all.attempts[hold] = None
        self.all.tell(EventKind.STARTED, row.job)
        return Claim(row.job, hold)

    async def changes(self):
        self.all.check()
        return self.all.seq

    async def renew(self, holds, *, lease_s):
        self.all.check()
        void = {hold for hold in holds if not self.all.held(hold)}
        for hold in set(holds) - void:
            until = self.all.now_ms + round(lease_s * 1000)
            self.all.rows[hold.job_id].lease_until = until
        return void

    async def report(self, progress):
        self.all.check()
        for hold, made in progress:
            if row := self.all.held(hold):
                row.job = replace(row.job, progress=made)
                told = {"current": made.current, "total": made.total, "message": made.message}
                self.all.tell(EventKind.PROGRESS, row.job, progress=told)

    async def settle(self, outcomes):
        self.all.check()
        return {outcome.hold for outcome in outcomes if not self._settle(outcome)}

    def _settle(self, outcome):
        row = self.all.held(outcome.hold)
        if row is None:
            return self.all.attempts.get(outcome.hold) == _ending(outcome)
        if isinstance(outcome, Failed):
            failure, counts = outcome.failure, outcome.counts
            self.all.fail(row, outcome.hold, failure, outcome.delay_s, counts=counts)
            return True
        self.all.attempts[outcome.hold] = _ending(outcome)
        folder = attempt_folder(outcome.hold)
        if outcome.has_files:
            self.all.folders.pop(folder, None)
        self.all.sweep_now(folder)
        row.has_files = outcome.has_files
        metrics = _json(outcome.metrics)
        self.all.end(row, JobState.COMPLETED, result=_json(outcome.result), metrics=metrics)
        self.all.tell(EventKind.COMPLETED, row.job, metrics=metrics)
        return True

    async def release(self, holds):
        self.all.check()
        for hold in holds:
            if row := self.all.held(hold):
                row.runner = ""
                row.job = replace(row.job, state=JobState.PENDING, progress=None)
                self.all.attempts[hold] = ("released", "")
                self.all.sweep_now(attempt_folder(hold))
                self.all.tell(EventKind.RETRYING, row.job)

    async def expire(self, *, limit):
        self.all.check()
        late = [
            row
            for row in self.all.rows.values()
            if row.is_queued and row.runner and row.lease_until < self.all.now_ms
        ]
        late.sort(key=lambda row: row.lease_until)
        failure = Failure("lease_expired", "the runner that held the job went silent")
        for row in late[:limit]:
            hold = Hold(row.job.job_id, row.job.attempt)
            self.all.fail(row, hold, failure, EXPIRED_DELAY_S)
        return len(late[:limit])

    async def depth(self):
        self.all.check()
        return len(self._waiting())


class MemoryLog(_Facet):
    """EventLog."""

    async def last(self):
        self.all.check()
        return self.all.seq

    async def changes(self):
        self.all.check()
        return self.all.seq

    async def after(self, seq, *, limit, job_id=None):
        self.all.check()
        events = [e for e in self.all.events if e.seq > seq and job_id in {None, e.job_id}]
        return events[:limit]

    async def prune(self, *, older_than_s, limit):
        self.all.check()
        before = from_ms(self.all.now_ms - round(older_than_s * 1000))
        old = {e.seq for e in [e for e in self.all.events if e.at < before][:limit]}
        self.all.events = [event for event in self.all.events if event.seq not in old]
        return len(old)


class MemoryCursors(_Facet):
    """Cursors."""

    async def read(self, name):
        self.all.check()
        return self.all.marks.get(name)

    async def write(self, name, seq):
        self.all.check()
        self.all.marks[name] = max(seq, self.all.marks.get(name, 0))


class MemoryLeases(_Facet):
    """Leases."""

    async def acquire(self, name, holder, *, ttl_s):
        self.all.check()
        other, until = self.all.rights.get(name, (holder, 0))
        if other != holder and until > self.all.now_ms:
            return False
        self.all.rights[name] = (holder, self.all.now_ms + round(ttl_s * 1000))
        return True

    async def release(self, name, holder):
        self.all.check()
        if self.all.rights.get(name, ("", 0))[0] == holder:
            del self.all.rights[name]

    async def holder(self, name):
        self.all.check()
        holder, until = self.all.rights.get(name, ("", 0))
        return holder if until > self.all.now_ms else None


class MemorySweeps(_Facet):
    """Sweeps."""

    async def intend(self, folders, *, due_in_s):
        self.all.check()
        for folder in folders:
            self.all.folders[folder] = [self.all.now_ms + round(due_in_s * 1000), 0]

    async def settled(self, folders):
        self.all.check()
        for folder in folders:
            self.all.folders.pop(folder, None)

    async def due(self, *, limit):
        self.all.check()
        runs = {attempt_folder(hold) for hold, end in self.all.attempts.items() if end is None}
        late = [
            (at, name)
            for name, (at, _) in self.all.folders.items()
            if at <= self.all.now_ms and name not in runs
        ]
        return [name for _, name in sorted(late)[:limit]]

    async def swept(self, folder):
        self.all.check()
        if folder not in self.all.folders:
            return
        if self.all.folders[folder][1]:
            del self.all.folders[folder]
        else:
            self.all.folders[folder] = [self.all.now_ms + round(SECOND_LOOK_S * 1000), 1]

    async def unmoved(self, *, limit):
        self.all.check()
        rows = [row for row in self.all.rows.values() if row.has_files and not row.is_moved]
        return [(row.job.job_id, row.job.attempt) for row in rows[:limit]]

    async def moved(self, job_id, attempt):
        self.all.check()
        row = self.all.rows.get(job_id)
        if row and row.has_files and row.job.attempt == attempt:
            row.is_moved = True


class MemoryDeliveries(_Facet):
    """Deliveries."""

    async def due(self, *, limit, lease_s, shares=EVERYBODY):
        self.all.check()
        now = self.all.now_ms
        late = [d for d in self.all.to_deliver.values() if d.due_at is not None and d.due_at <= now]
        late = self._fair([d for d in late if d.kind in shares.kinds], shares)
        for delivery in late[:limit]:
            delivery.due_at = now + round(lease_s * 1000)
        return [Delivery(d.id, d.kind, self.all.rows[d.job_id].job, d.tries) for d in late[:limit]]

    def _fair(self, late, shares):
        turns, found = Counter(), []
        for due in sorted(late, key=lambda d: d.due_at):
            asked = self.all.rows[due.job_id].job.asked
            origin = origin_of(asked.callback_url) if due.kind is DeliveryKind.CALLBACK else due.id
            if asked.owner not in shares.without_owners and origin not in shares.without_origins:
                turns.update([("owner", asked.owner, due.kind), ("origin", origin, due.kind)])
                turn = turns["owner", asked.owner, due.kind]
                if max(turn, turns["origin", origin, due.kind]) <= shares.each:
                    found.append((turn, due))
        return [due for _, due in sorted(found, key=lambda each: each[0])]

    async def settle(self, outcomes):
        self.all.check()
        known = {(d.kind, d.id): d for d in self.all.to_deliver.values()}
        for outcome in outcomes:
            due = known.get((outcome.delivery.kind, outcome.delivery.id))
            if due and due.due_at is not None:
                self._settle(due, outcome)

    def _settle(self, due, outcome):
        due.tries += 1
        due.error = outcome.error
        if outcome.error and outcome.delay_s is not None:
            due.due_at = self.all.now_ms + round(outcome.delay_s * 1000)
            return
        due.due_at = None
        due.status = "failed" if outcome.error else "completed"
        if outcome.error and due.kind is DeliveryKind.MEDIA_STORE:
            row = self.all.rows[due.job_id]
            failure = Failure("sync_failed", outcome.error)
            row.job = replace(row.job, state=JobState.SYNC_FAILED, failure=failure)
            self.all.tell(EventKind.SYNC_FAILED, row.job, failure=asdict(failure))


def _json(value):
    return json.loads(json.dumps(value))


def _rounded(at):
    return at and from_ms(to_ms(at))


def _request(asked):
    """What makes two submissions the same request, whatever their ids are."""
    folder = upload_folder(asked.job_id)
    images = tuple(replace(ref, blob=ref.blob.removeprefix(folder)) for ref in asked.images)
    return replace(
        asked,
        job_id="",
        batch_id="",
        position=0,
        images=images,
        params=_json(asked.params),
        not_before=_rounded(asked.not_before),
    )


def _ending(outcome):
    if isinstance(outcome, Completed):
        return ("completed", "")
    return ("failed", outcome.failure.code)


def _by_state(rows):
    states = [row.job.state for row in rows]
    return {state: states.count(state) for state in JobState if state in states}
