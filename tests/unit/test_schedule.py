"""When rebuilds are submitted: by the clock of a time zone, and once for what was missed."""

from datetime import UTC, datetime, timedelta

import pytest

from omma.domain.errors import CannotStart
from omma.domain.indexes import IndexStats, Snapshot, SnapshotState
from omma.services.indexes import LEASE
from omma.services.schedule import First, Nightly, NightlyPorts, Schedule
from tests.index_fakes import MemorySnapshots
from tests.job_fakes import MemoryJobs


class StoredFiles:
    """Of `SnapshotFiles` which versions there are."""

    def __init__(self):
        self.versions = ["v1"]

    async def stored(self, name):
        assert name == "cards"
        return self.versions


class Desk:
    """The ports of a schedule, and what was submitted."""

    def __init__(self):
        jobs = MemoryJobs()
        self.now = datetime(2026, 1, 2, 12, tzinfo=UTC)
        self.submitted = []
        self.snapshots = MemorySnapshots()
        self.files = StoredFiles()
        self.leases = jobs.leases
        self.ports = NightlyPorts(
            jobs.cursors, self.snapshots, self.files, self.leases, self.submit
        )
        self.nightly = Nightly(
            self.ports, Schedule.read("0 2 * * *", "Europe/Berlin"), clock=lambda: self.now
        )
        self.first = First(self.ports, clock=lambda: self.now)

    async def submit(self, operation, params, key):
        self.submitted.append((operation, params, key))


@pytest.fixture
def desk():
    return Desk()


def utc(*moment):
    return datetime(*moment, tzinfo=UTC)


def test_times_are_those_of_the_zone():
    schedule = Schedule.read("0 2 * * *", "Europe/Berlin")

    assert schedule.upcoming(utc(2026, 1, 2, 12)) == utc(2026, 1, 3, 1)
    assert schedule.latest(utc(2026, 1, 2, 12)) == utc(2026, 1, 2, 1)
    assert schedule.latest(utc(2026, 7, 2, 12)) == utc(2026, 7, 2, 0)


def test_in_the_night_that_lacks_an_hour_it_runs_right_after_it():
    schedule = Schedule.read("30 2 * * *", "Europe/Berlin")

    assert schedule.upcoming(utc(2026, 3, 28, 12)) == utc(2026, 3, 29, 1)
    assert schedule.latest(utc(2026, 3, 29, 12)) == utc(2026, 3, 29, 1)


def test_in_the_night_that_has_an_hour_twice_it_runs_once():
    schedule = Schedule.read("30 2 * * *", "Europe/Berlin")

    assert schedule.upcoming(utc(2026, 10, 25, 0, 30)) == utc(2026, 10, 26, 1, 30)
    assert schedule.latest(utc(2026, 10, 25, 23)) == utc(2026, 10, 25, 0, 30)


@pytest.mark.parametrize(
    ("expression", "zone", "reason"),
    [
        ("at two", "UTC", "cron expression"),
        ("0 2 30 2 *", "UTC", "cron expression"),
        ("0 2 * * *", "Europe/Atlantis", "time zone"),
        ("0 2 * * *", "", "time zone"),
    ],
)
def test_what_is_no_schedule_is_refused_with_an_example(expression, zone, reason):
    with pytest.raises(CannotStart, match=reason):
        Schedule.read(expression, zone)


async def test_nothing_was_missed_before_the_very_first_start(desk):
    await desk.nightly.run_once()

    assert desk.submitted == []


async def test_a_rebuild_is_submitted_once_when_its_time_has_come(desk):
    await desk.nightly.run_once()
    desk.now = utc(2026, 1, 3, 1, 0, 5)

    done = [await desk.nightly.run_once() for _ in range(3)]

    assert done == [1, 0, 0]
    assert desk.submitted == [("index_rebuild", {}, "nightly:cards:20260103T010000Z")]


async def test_nights_that_were_missed_are_made_up_for_once_at_the_next_start(desk):
    await desk.nightly.run_once()
    desk.now += timedelta(days=9)

    await desk.nightly.run_once()
    await desk.nightly.run_once()

    assert [key for *_, key in desk.submitted] == ["nightly:cards:20260111T010000Z"]


async def test_who_dies_after_submitting_submits_the_same_job_again(desk):
    await desk.nightly.run_once()
    desk.now += timedelta(days=1)
    write, desk.ports.cursors.write = desk.ports.cursors.write, _die
    with pytest.raises(KeyboardInterrupt):
        await desk.nightly.run_once()
    desk.ports.cursors.write = write

    await desk.nightly.run_once()

    first, second = desk.submitted
    assert first == second


async def test_the_first_rebuild_is_submitted_while_nothing_is_published(desk):
    await desk.first.run_once()
    await desk.first.run_once()

    [first, again] = desk.submitted
    assert first == again
    assert first[:2] == ("index_rebuild", {})
    assert first[2].startswith("first:cards:20260102T12:")


async def test_another_bundle_is_another_job(desk):
    await First(desk.ports, {"bundle": "a.zip"}, clock=lambda: desk.now).run_once()
    await First(desk.ports, {"bundle": "b.zip"}, clock=lambda: desk.now).run_once()

    assert len({key for *_, key in desk.submitted}) == 2


async def test_it_is_not_while_somebody_rebuilds(desk):
    await desk.leases.acquire(LEASE, "node-b", ttl_s=60)

    await desk.first.run_once()

    assert desk.submitted == []


async def test_it_is_not_when_something_is_published(desk):
    snapshot = Snapshot("cards", "v1", SnapshotState.BUILT, IndexStats(1, 1, 1), desk.now)
    await desk.snapshots.add(snapshot)
    await desk.snapshots.publish("cards", "v1")

    await desk.first.run_once()

    assert desk.submitted == []


async def published(desk, **report):
    snapshot = Snapshot(
        "cards", "v1", SnapshotState.BUILT, IndexStats(1, 1, 1), desk.now, report=report
    )
    await desk.snapshots.add(snapshot)
    await desk.snapshots.publish("cards", "v1")


@pytest.mark.parametrize(
    ("source", "form", "params"),
    [("sample", "1", {}), ("bundle", "1", {"bundle": "a.zip"}), ("sample", "2", {})],
)
async def test_a_published_snapshot_that_cannot_be_read_is_made_again(desk, source, form, params):
    await published(desk, source=source, form=form)
    first = First(desk.ports, {"bundle": "a.zip"}, index_form="1", clock=lambda: desk.now)
    if form == "1":
        desk.files.versions = []

    await first.run_once()
    await first.run_once()

    assert [given for _, given, _ in desk.submitted] == [params]


async def test_files_are_looked_for_once_an_hour(desk):
    await published(desk)
    await desk.first.run_once()
    desk.files.versions = []
    await desk.first.run_once()
    before = len(desk.submitted)
    desk.now += timedelta(hours=1)

    await desk.first.run_once()

    assert (before, len(desk.submitted)) == (0, 1)


async def test_a_night_that_meets_an_import_is_made_up_for_after_it(desk):
    await desk.nightly.run_once()
    desk.now = utc(2026, 1, 3, 1, 0, 5)
    await desk.leases.acquire(LEASE, "node-b", ttl_s=60)
    during = await desk.nightly.run_once()
    await desk.leases.release(LEASE, "node-b")

    after = await desk.nightly.run_once()

    assert (during, after) == (0, 1)
    assert [key for *_, key in desk.submitted] == ["nightly:cards:20260103T010000Z"]


async def _die(*_):
    raise KeyboardInterrupt


async def test_an_index_that_comes_with_the_package_is_published_in_place_of_a_rebuild(desk):
    shipped = []

    async def publish():
        shipped.append(1)
        await published(desk, source="sample")

    first = First(desk.ports, publish=publish, clock=lambda: desk.now)

    for _ in range(3):
        await first.run_once()

    assert (shipped, desk.submitted) == ([1], [])
