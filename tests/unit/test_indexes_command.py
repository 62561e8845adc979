"""`omma indexes` against a real server on this machine, over records in memory."""

import asyncio
import json
import threading
from datetime import UTC, datetime

import pytest
import uvicorn
from typer.testing import CliRunner

from omma.api.app import ApiOptions, build_api
from omma.cli.indexes import app
from omma.cli.wording import plan_in_words, result_in_words, size_in_words, time_in_words
from omma.domain.cards import CardId, ItemId
from omma.domain.indexes import (
    IndexStats,
    RebuildReport,
    Score,
    Snapshot,
    SnapshotState,
    SourcePlan,
    Verdict,
)
from omma.domain.jobs import Completed, Failed, Failure, Progress
from omma.services.tokens import Gatekeeper
from omma.wire.indexes import PlanResult, RebuildResult
from tests.index_fakes import MemorySnapshots
from tests.job_fakes import MemoryJobs
from tests.runner_fakes import soon
from tests.service_fakes import NamedTokens, fake_services, index_service

OLD, NEW = "20240101T020000-a", "20240102T020000-b"
SCORE = Score(200, 199, 0, 31.0, 44.0)
GOOD = Verdict(
    is_accepted=True, reasons=("it knew 199 of 200 canaries",), candidate=SCORE, running=None
)
BAD = Verdict(is_accepted=False, reasons=("it knew 2 of 200",), candidate=SCORE, running=SCORE)
DONE = RebuildReport(
    NEW, GOOD, is_published=True, cards=1, faces=2, fetched=1200, removed=0, took_s=90.0
)
REFUSED = RebuildReport(
    NEW,
    BAD,
    is_published=False,
    cards=10,
    faces=12,
    fetched=3,
    removed=1,
    failed=((ItemId(CardId("c"), 1), "truncated_image: ends too soon"),),
    failed_count=1,
    took_s=7300,
)
NOTHING = RebuildReport(
    "", None, is_published=False, cards=10, faces=12, fetched=0, removed=0, took_s=0.5
)
PLAN = SourcePlan("scryfall", 90_000, 93_000, 1200, 5_200_000_000, 2.25, is_exact=False)


class Server(uvicorn.Server):
    def __init__(self, services):
        api = build_api(services, ApiOptions())
        super().__init__(uvicorn.Config(api, port=0, log_config=None, lifespan="off", ws="none"))
        self.feed = services.feed
        self.is_up = threading.Event()

    async def shutdown(self, sockets=None):
        await self.feed.stop()
        await super().shutdown(sockets)

    async def startup(self, sockets=None):
        await self.feed.start()
        await super().startup(sockets)
        self.is_up.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


@pytest.fixture
def memory():
    return MemoryJobs()


@pytest.fixture
def snapshots():
    snapshots = MemorySnapshots()

    async def fill():
        for version in (OLD, NEW):
            made = datetime(2024, 1, int(version[7]), 2, tzinfo=UTC)
            stats = IndexStats(10, 2500, 99_000)
            await snapshots.add(Snapshot("cards", version, SnapshotState.BUILT, stats, made))
        await snapshots.publish("cards", OLD)
        await snapshots.judge("cards", NEW, SnapshotState.REFUSED, {"verdict": {"reasons": ["no"]}})

    asyncio.run(fill())
    return snapshots


@pytest.fixture
def url(memory, snapshots):
    jobs = fake_services(memory=memory).jobs
    servings = snapshots.servings
    services = fake_services(
        memory=memory,
        jobs=jobs,
        indexes=index_service(jobs, snapshots, servings),
        gate=Gatekeeper(NamedTokens()),
    )
    server = Server(services)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.is_up.wait(timeout=10)
    yield server.url
    server.should_exit = True
    thread.join()


@pytest.fixture
def run(url):
    def run(*arguments, who="admin"):
        environment = {"OMMA_URL": url, "OMMA_TOKEN": who, "COLUMNS": "200"}
        return CliRunner().invoke(app, [str(each) for each in arguments], env=environment)

    return run


@pytest.fixture
def works(memory):
    """Ends the first rebuild that somebody asks for; a report, a plan or a failure."""
    threads = []

    def works(outcome):
        async def work():
            await soon(lambda: memory.rows)
            [claim] = await memory.queue.claim("r", ["index_rebuild"], limit=1, lease_s=3600)
            hold = claim.hold
            await memory.queue.report([(hold, Progress(3, 9, "features"))])
            match outcome:
                case SourcePlan():
                    result = PlanResult.of(outcome).model_dump(mode="json")
                case RebuildReport():
                    result = RebuildResult.of(outcome).model_dump(mode="json")
                case Failure():
                    await memory.queue.settle([Failed(hold, outcome, None)])
                    return
            await memory.queue.settle([Completed(hold, result)])

        threads.append(threading.Thread(target=lambda: asyncio.run(work())))
        threads[-1].start()

    yield works
    for thread in threads:
        thread.join()


def test_indexes_are_listed(run):
    shown = run("list").stdout
    lines = json.loads(run("list", "--json").stdout)

    assert OLD in shown
    assert lines["indexes"] == [{"name": "cards", "version": OLD, "sequence": 1, "snapshots": 2}]


def test_an_index_is_shown_with_its_snapshots(run, snapshots):
    asyncio.run(snapshots.servings.report("cards", "replica-1", OLD, ttl_s=60))

    shown = run("show", "cards").stdout

    assert f"replica-1 serves {OLD}" in shown
    assert [word in shown for word in (NEW, "refused", "published", "99.0 kB")] == [True] * 4


def test_a_snapshot_is_shown_with_its_report(run):
    shown = run("show", "cards", NEW).stdout

    assert '"reasons"' in shown
    assert json.loads(run("show", "cards", NEW, "--json").stdout)["state"] == "refused"


def test_a_rebuild_is_asked_for_and_left_alone(run, memory):
    result = run("rebuild", "cards", "--force")

    [row] = memory.rows.values()
    assert result.exit_code == 0
    assert result.stdout == f"{row.job.job_id}  pending\n"
    assert row.job.asked.params["force"]


def test_a_rebuild_is_watched_to_its_end(run, works):
    works(DONE)

    result = run("rebuild", "cards", "--wait")

    assert result.exit_code == 0, result.output
    assert "index_rebuild  processing  features" in result.stderr
    assert f"published {NEW} in 2 minutes: 1 card, 2 faces, 1,200 images fetched" in result.stdout
    assert "199 of 200 canaries found" in result.stdout


@pytest.mark.parametrize(
    ("outcome", "code", "told"),
    [
        (REFUSED, 1, f"built and did not publish {NEW} in 2.0 hours"),
        (NOTHING, 0, "nothing has changed: 10 cards as before"),
        (Failure("rebuild_running", "node-7 rebuilds cards"), 1, "node-7 rebuilds cards"),
    ],
)
def test_how_a_rebuild_ended_is_told(run, works, outcome, code, told):
    works(outcome)

    result = run("rebuild", "cards", "--wait")

    assert result.exit_code == code
    assert told in result.output


def test_a_dry_run_states_bytes_images_and_hours(run, works, memory):
    works(PLAN)

    result = run("rebuild", "cards", "--dry-run")

    [row] = memory.rows.values()
    assert row.job.asked.params["dry_run"]
    assert result.exit_code == 0, result.output
    assert "about 5.2 GB: 1,200 new or changed images." in result.stdout
    assert "about 2.2 hours." in result.stdout


def test_a_snapshot_is_published_by_force_and_rolled_back(run, snapshots):
    refused = run("publish", "cards", NEW)
    forced = run("publish", "cards", NEW, "--force", "--expected", 1)
    late = run("rollback", "cards", "--expected", 1)
    back = run("rollback", "cards")

    assert (refused.exit_code, forced.exit_code, late.exit_code, back.exit_code) == (2, 0, 2, 0)
    assert "snapshot_refused" in refused.stderr
    assert forced.stdout == f"cards is at {NEW}, publication 2\n"
    assert "publish_conflict" in late.stderr
    assert asyncio.run(snapshots.published("cards")).version == OLD


def test_only_administrators_may(run, memory):
    result = run("rebuild", "cards", who="ann")

    assert (result.exit_code, memory.rows) == (2, {})
    assert "admin_required" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("rebuild",), ("publish", "cards", ""), ("rollback", "cards", "--expected", "-1")]
)
def test_wrong_usage_asks_no_server(arguments):
    result = CliRunner().invoke(app, arguments, env={"OMMA_URL": "http://127.0.0.1:1"})

    assert result.exit_code == 2
    assert "Error" in result.stderr


def test_an_exact_plan_is_stated_without_about():
    said = plan_in_words(
        PlanResult(
            source="sample",
            cards=1,
            faces=1,
            new_images=0,
            download_bytes=0,
            hours=0.001,
            is_exact=True,
        )
    )

    assert "sample has 1 card with 1 face." in said
    assert "download 0 bytes: 0 new or changed images." in said
    assert "about 4 seconds" in said


def test_pictures_that_could_not_be_used_are_named():
    said = result_in_words(RebuildResult.of(REFUSED))

    assert "1 image could not be used:\n  c/1: truncated_image: ends too soon" in said
    assert "  it knew 2 of 200" in said


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2e9, "2.0 GB"), (3e12, "3.0 TB")],
)
def test_sizes_have_a_fitting_unit(size_bytes, words):
    assert size_in_words(size_bytes) == words


@pytest.mark.parametrize(
    ("hours", "words"), [(0, "0 seconds"), (0.5, "30 minutes"), (1, "1.0 hours")]
)
def test_times_have_a_fitting_unit(hours, words):
    assert time_in_words(hours) == words
