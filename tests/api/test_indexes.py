from datetime import UTC, datetime

import pytest

from omma.domain.indexes import (
    IndexStats,
    Snapshot,
    SnapshotState,
)
from omma.services.jobs import JobService
from omma.services.tokens import Gatekeeper
from tests.index_fakes import MemoryServings, MemorySnapshots
from tests.job_fakes import MemoryJobs
from tests.service_fakes import (
    MemoryBlobs,
    MemorySnapshotFiles,
    NamedTokens,
    fake_services,
    index_service,
)

CARDS = "/api/v1/indexes/cards"
OLD, RUNNING, NEW = "20240101T020000-a", "20240102T020000-b", "20240103T020000-c"


@pytest.fixture
def memory():
    return MemoryJobs()


@pytest.fixture
def servings():
    return MemoryServings()


@pytest.fixture
def snapshots(servings):
    return MemorySnapshots(servings=servings)


@pytest.fixture
def files(snapshots):
    return MemorySnapshotFiles(snapshots)


@pytest.fixture
def client(connect_with, memory, snapshots, servings, files):
    jobs: JobService = fake_services(memory=memory, blobs=MemoryBlobs()).jobs
    indexes = index_service(jobs, snapshots, servings, files)
    gate = Gatekeeper(NamedTokens())
    client = connect_with(memory=memory, jobs=jobs, indexes=indexes, gate=gate)
    client.headers["authorization"] = "Bearer admin"
    return client


@pytest.fixture
async def three(snapshots):
    """One that was published, one that is, and a newer one that the gate refused."""
    for version in (OLD, RUNNING, NEW):
        made = datetime(2024, 1, int(version[7]), 2, tzinfo=UTC)
        stats = IndexStats(10, 2500, 99_000)
        await snapshots.add(Snapshot("cards", version, SnapshotState.BUILT, stats, made))
    await snapshots.publish("cards", OLD)
    await snapshots.publish("cards", RUNNING)
    report = {"verdict": {"reasons": ["accuracy fell from 0.99 to 0.51"]}}
    await snapshots.judge("cards", NEW, SnapshotState.REFUSED, report)


async def published(snapshots):
    now = await snapshots.published("cards")
    return now.version, now.sequence


async def test_an_index_without_snapshots_is_listed_as_such(client):
    answer = await client.get("/api/v1/indexes")

    nothing = {"name": "cards", "version": None, "sequence": 0, "snapshots": 0}
    assert answer.json() == {"indexes": [nothing]}


async def test_an_index_is_shown_with_its_history_and_who_serves_it(client, three, servings):
    del three
    await servings.report("cards", "replica-1", RUNNING, ttl_s=60)

    shown = (await client.get(CARDS)).json()

    assert (shown["version"], shown["sequence"], shown["snapshots"]) == (RUNNING, 2, 3)
    assert [(each["version"], each["state"], each["replicas"]) for each in shown["history"]] == [
        (NEW, "refused", 0),
        (RUNNING, "published", 1),
        (OLD, "retired", 0),
    ]
    assert [each["replica"] for each in shown["served_by"]] == ["replica-1"]


async def test_a_snapshot_is_shown_with_its_report(client, three):
    del three

    shown = (await client.get(f"{CARDS}/snapshots/{NEW}")).json()

    assert (shown["index"], shown["state"], shown["items"]) == ("cards", "refused", 10)
    assert shown["report"]["verdict"]["reasons"] == ["accuracy fell from 0.99 to 0.51"]
    assert (shown["served_by"], shown["vectors"], shown["size_bytes"]) == ([], 2500, 99_000)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/indexes/people", "index_not_found"),
        ("GET", f"{CARDS}/snapshots/nonsense", "snapshot_not_found"),
        ("POST", "/api/v1/indexes/people/rebuild", "index_not_found"),
        ("POST", "/api/v1/indexes/people/rollback", "index_not_found"),
        ("POST", f"{CARDS}/rollback", "snapshot_not_found"),
    ],
)
async def test_what_is_not_there_is_404(client, method, path, code):
    answer = await client.request(method, path)

    assert (answer.status_code, answer.json()["code"]) == (404, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_older_snapshot_is_published(client, three, snapshots):
    del three

    answer = await client.post(f"{CARDS}/publish", json={"version": OLD})

    assert answer.json() == {"index": "cards", "version": OLD, "sequence": 3}
    assert await published(snapshots) == (OLD, 3)


async def test_a_refused_snapshot_is_published_only_by_force(client, three, snapshots):
    del three

    refused = await client.post(f"{CARDS}/publish", json={"version": NEW})
    before = await published(snapshots)
    forced = await client.post(f"{CARDS}/publish", json={"version": NEW, "force": True})

    assert (refused.status_code, refused.json()["code"]) == (409, "snapshot_refused")
    assert "accuracy fell" in refused.json()["detail"]
    assert before == (RUNNING, 2)
    assert (forced.status_code, await published(snapshots)) == (200, (NEW, 3))


@pytest.mark.parametrize("route", ["publish", "rollback"])
async def test_who_saw_another_publication_changes_nothing(client, three, snapshots, route):
    del three
    body = {"expected_sequence": 1} | ({"version": OLD} if route == "publish" else {})

    answer = await client.post(f"{CARDS}/{route}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (409, "publish_conflict")
    assert await published(snapshots) == (RUNNING, 2)


async def test_rolling_back_goes_to_the_snapshot_before_and_never_forward(client, three, snapshots):
    del three

    first = await client.post(f"{CARDS}/rollback", json={"expected_sequence": 2})
    second = await client.post(f"{CARDS}/rollback")

    assert first.json() == {"index": "cards", "version": OLD, "sequence": 3}
    assert (second.status_code, second.json()["code"]) == (404, "snapshot_not_found")
    assert await published(snapshots) == (OLD, 3)


async def test_a_snapshot_whose_files_are_gone_is_not_published(client, three, snapshots, files):
    del three
    files.gone = {OLD}

    answer = await client.post(f"{CARDS}/rollback")

    assert (answer.status_code, answer.json()["code"]) == (404, "snapshot_not_found")
    assert await published(snapshots) == (RUNNING, 2)


async def test_a_rebuild_is_a_job(client, memory):
    answer = await client.post(f"{CARDS}/rebuild", json={"force": True})

    job = answer.json()
    assert (answer.status_code, job["task_type"], job["status"]) == (
        202,
        "index_rebuild",
        "pending",
    )
    asked = memory.rows[job["job_id"]].job.asked
    assert asked.params == {"index": "cards", "force": True, "dry_run": False, "bundle": ""}
    assert (asked.images, asked.owner) == ((), "admin")


async def test_while_one_waits_or_runs_that_one_is_answered(client, memory):
    first = (await client.post(f"{CARDS}/rebuild")).json()["job_id"]
    await memory.queue.claim("r", ["index_rebuild"], limit=1, lease_s=30)

    again = (await client.post(f"{CARDS}/rebuild")).json()["job_id"]
    plan = (await client.post(f"{CARDS}/rebuild", json={"dry_run": True})).json()["job_id"]
    forced = await client.post(f"{CARDS}/rebuild", json={"force": True})
    await memory.control.cancel(first)
    anew = (await client.post(f"{CARDS}/rebuild")).json()["job_id"]

    assert again == first
    assert len({first, plan, anew}) == 3
    assert (forced.status_code, forced.json()["code"]) == (409, "rebuild_running")
    assert first in forced.json()["detail"]


@pytest.mark.parametrize("route", ["rebuild", "publish", "rollback"])
async def test_only_administrators_change_anything(client, route, memory):
    answer = await client.post(
        f"{CARDS}/{route}", json={"version": OLD}, headers={"authorization": "Bearer ann"}
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "admin_required")
    assert not memory.rows


async def test_others_may_look(client, three):
    del three
    ann = {"authorization": "Bearer ann"}

    paths = ("/api/v1/indexes", CARDS, f"{CARDS}/snapshots/{OLD}")
    answers = [await client.get(path, headers=ann) for path in paths]

    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("publish", {}),
        ("publish", {"version": OLD, "more": 1}),
        ("publish", {"version": OLD, "force": "yes"}),
        ("publish", {"version": "", "expected_sequence": -1}),
        ("rebuild", {"force": 1}),
        ("rollback", {"version": OLD}),
    ],
)
async def test_what_is_said_wrongly_is_422(client, route, body):
    answer = await client.post(f"{CARDS}/{route}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_records_that_are_away_are_503(client, snapshots):
    snapshots.is_down = True

    answer = await client.get(CARDS)

    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


async def test_where_no_index_is_served_none_is_found(connect_with):
    client = connect_with(indexes=None)

    listed, shown = await client.get("/api/v1/indexes"), await client.get(CARDS)

    assert listed.json() == {"indexes": []}
    assert (shown.status_code, shown.json()["code"]) == (404, "index_not_found")


async def test_the_generic_route_takes_the_job_without_an_image(client, memory):
    answer = await client.post("/job/index_rebuild", json={"params": {"dry_run": True}})

    assert answer.status_code == 201, answer.text
    asked = memory.rows[answer.json()["job_id"]].job.asked
    assert asked.params == {"index": "cards", "force": False, "dry_run": True, "bundle": ""}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/job/index_rebuild", {"media_store_id": "m"}),
        ("/job/index_rebuild", {"url": "https://example.com/a.jpg"}),
        ("/job/index_rebuild", {"params": {"index": "cards", "more": 1}}),
        ("/api/v1/queue/submit/index_rebuild", {"media_store_id": "m"}),
        ("/job/face_detection", {}),
    ],
)
async def test_images_come_with_operations_on_images_and_with_no_other(client, memory, path, body):
    answer = await client.post(path, json=body)

    assert answer.status_code == 422
    assert not memory.rows


@pytest.mark.parametrize(
    "path",
    ["/job/index_rebuild", "/api/v1/queue/submit/index_rebuild"],
)
async def test_the_generic_routes_ask_for_an_administrator_too(client, memory, path):
    answer = await client.post(path, json={}, headers={"authorization": "Bearer ann"})

    assert answer.status_code == 403
    assert not memory.rows
