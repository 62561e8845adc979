import pytest

from omma.domain.jobs import Completed
from omma.services.tokens import Gatekeeper
from tests.job_fakes import MemoryJobs
from tests.service_fakes import MemoryBlobs, NamedTokens


@pytest.fixture
def memory():
    return MemoryJobs()


@pytest.fixture
def blobs():
    return MemoryBlobs()


@pytest.fixture
def client(connect_with, memory, blobs):
    client = connect_with(memory=memory, blobs=blobs, gate=Gatekeeper(NamedTokens()))
    client.headers["authorization"] = "Bearer admin"
    return client


@pytest.fixture
async def three(client, memory, blobs):
    """One job that waits, one that runs, one that has ended with a file and an upload."""
    ids = []
    for number in range(3):
        answer = await client.post("/job/face_detection", json={"media_store_id": str(number)})
        ids.append(answer.json()["job_id"])
    first, _ = await memory.queue.claim("r", ["face_detection"], limit=2, lease_s=30)
    await memory.queue.settle([Completed(first.hold, {"faces": []})])
    blobs.files[f"jobs/{ids[0]}/faces/0.jpg"] = b"jpeg"
    blobs.files[f"uploads/{ids[0]}/0"] = b"image"
    return dict(zip(("ended", "running", "waiting"), ids, strict=True))


async def clean(client, **body):
    answer = await client.request("DELETE", "/admin/cleanup", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def counts(jobs, files, queued):
    return {"jobs_deleted": jobs, "files_deleted": files, "queue_entries_removed": queued}


async def test_stats_count_jobs_and_bytes(client, three, blobs):
    del three
    blobs.files["jobs/other"] = b"x" * 3 * 1024 * 1024

    stats = (await client.get("/admin/stats")).json()

    assert stats["queue_size"] == 1
    assert stats["jobs"] == {
        "pending": 1, "processing": 1, "completed": 1, "error": 0, "cancelled": 0, "sync_failed": 0,
    }  # fmt: skip
    assert stats["storage"] == {"total_jobs": 3, "disk_usage_mb": 3.0}


async def test_without_a_body_what_has_ended_goes(client, three, memory, blobs):
    answer = await client.delete("/admin/cleanup")

    assert answer.json() == counts(1, 2, 0)
    assert set(memory.rows) == {three["running"], three["waiting"]}
    assert blobs.files == {}


async def test_all_means_all(client, three, memory):
    del three

    assert await clean(client, status="all") == counts(3, 2, 2)
    assert memory.rows == {}


@pytest.mark.parametrize(
    ("body", "spared"),
    [
        ({"status": "all", "remove_queue": False}, {"running", "waiting"}),
        ({"status": "all", "remove_results": False}, {"ended"}),
        ({"status": "pending"}, {"running", "ended"}),
        ({"status": "pending", "remove_queue": False}, {"running", "waiting", "ended"}),
        ({"status": "completed"}, {"running", "waiting"}),
        ({"status": "error"}, {"running", "waiting", "ended"}),
        ({"status": "all", "older_than_seconds": 60}, {"running", "waiting", "ended"}),
    ],
)
async def test_every_option_spares_what_it_should(client, three, memory, body, spared):
    answer = await clean(client, **body)

    assert set(memory.rows) == {three[name] for name in spared}
    assert answer["jobs_deleted"] == 3 - len(spared)


async def test_old_jobs_go(client, three, memory):
    del three
    memory.advance(61)

    assert (await clean(client, status="all", older_than_seconds=60))["jobs_deleted"] == 3


@pytest.mark.parametrize(
    "body", [{"status": "failed"}, {"older_than_seconds": -1}, {"remove_queue": "no"}, {"more": 1}]
)
async def test_a_wrong_option_removes_nothing(client, three, memory, body):
    answer = await client.request("DELETE", "/admin/cleanup", json=body)

    assert answer.status_code == 422
    assert len(memory.rows) == len(three)


@pytest.mark.parametrize(("method", "path"), [("GET", "/stats"), ("DELETE", "/cleanup")])
async def test_only_administrators_may(client, method, path):
    answer = await client.request(method, f"/admin{path}", headers={"authorization": "Bearer ann"})

    assert answer.status_code == 403
    assert answer.json()["detail"] == "Admin access required"
