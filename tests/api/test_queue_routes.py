import base64
import uuid

import pytest

from omma.domain.jobs import Completed, EntityKind, Failed, Failure, Progress
from omma.services.tokens import Gatekeeper
from tests.fakes import picture
from tests.job_fakes import MemoryJobs
from tests.service_fakes import MemoryBlobs, NamedTokens

QUEUE = "/api/v1/queue"
PICTURE = base64.b64encode(picture()).decode()
IMAGE = {"image_data": {"data": PICTURE, "format": "jpeg"}}


@pytest.fixture
def memory():
    return MemoryJobs()


@pytest.fixture
def blobs():
    return MemoryBlobs()


@pytest.fixture
def client(connect_with, memory, blobs):
    client = connect_with(memory=memory, blobs=blobs, gate=Gatekeeper(NamedTokens()))
    client.headers["authorization"] = "Bearer ann"
    return client


async def submit(client, kind="image", **body):
    answer = await client.post(f"{QUEUE}/submit/{kind}", json=body or IMAGE)
    assert answer.status_code == 200, answer.text
    return answer.json()["job_id"]


async def claim(memory):
    [claim] = await memory.queue.claim("r", ["face_embedding"], limit=1, lease_s=30)
    return claim


async def test_an_image_is_queued_as_documented(client, memory, blobs):
    answer = await client.post(f"{QUEUE}/submit/image", json=IMAGE)

    assert answer.json().keys() == {"success", "job_id", "message"}
    job_id = answer.json()["job_id"]
    assert uuid.UUID(job_id).version == 4
    assert blobs.files == {f"uploads/{job_id}/0": picture()}
    assert memory.rows[job_id].job.asked.operation == "face_embedding"


@pytest.mark.parametrize(("theirs", "ours"), [(1, 10), (5, 6), (10, 1)])
async def test_one_is_the_first_priority_of_the_gateway(client, memory, theirs, ours):
    job_id = await submit(client, **IMAGE, priority=theirs)

    assert memory.rows[job_id].job.asked.priority == ours


async def test_a_data_url_is_an_image_as_well(client, blobs):
    await submit(client, image_data={"data": f"data:image/png;base64,{PICTURE}"})

    assert list(blobs.files.values()) == [picture()]


async def test_a_gallery_is_one_job_of_many_images(client, memory):
    images = [{"data": PICTURE}, PICTURE, {"url": "http://a.test/"}, {"media_store_id": "m"}]
    entity = {"id": "7", "type": "gallery", "title": "Holidays"}

    job_id = await submit(client, "gallery", images=images, entity=entity)

    asked = memory.rows[job_id].job.asked
    assert [bool(image.blob) for image in asked.images] == [True, True, False, False]
    assert (asked.images[2].url, asked.images[3].media_store_id) == ("http://a.test/", "m")
    assert (asked.entity.kind, asked.entity.title) == (EntityKind.GALLERY, "Holidays")


async def test_a_scene_without_pictures_is_refused_in_clear_words(client):
    answer = await client.post(f"{QUEUE}/submit/scene", json={"entity": {"id": "1"}})

    error = answer.json()
    assert answer.status_code == 422
    assert error["success"] is False
    assert error["code"] == "422"
    assert "expected an image" in error["error"]
    assert error["timestamp"]


async def test_every_operation_is_a_type(client, memory):
    job_id = await submit(client, "image_embedding", url="https://example.com/a.jpg")

    assert memory.rows[job_id].job.asked.operation == "image_embedding"


@pytest.mark.parametrize(
    "body",
    [
        {**IMAGE, "priority": 0},
        {**IMAGE, "priority": 11},
        {**IMAGE, "threshold": 2},
        {"image_data": {"data": "***"}},
        {"image_data": {"data": ""}},
        {"images": [{}]},
        {**IMAGE, "params": {"nonsense": 1}},
        [],
    ],
)
async def test_what_is_wrong_is_422_in_the_gateways_words(client, memory, body):
    answer = await client.post(f"{QUEUE}/submit/image", json=body)

    assert answer.status_code == 422
    assert answer.json().keys() == {"success", "error", "code", "timestamp", "error_code"}
    assert memory.rows == {}


async def test_an_unknown_type_is_422_and_names_those_there_are(client):
    answer = await client.post(f"{QUEUE}/submit/nonsense", json=IMAGE)

    assert answer.status_code == 422
    assert "image, gallery, scene, face_detection" in answer.json()["error"]


async def test_a_job_is_followed_to_its_end(client, memory):
    job_id = await submit(client)
    held = await claim(memory)
    await memory.queue.report([(held.hold, Progress(1, 4, "one"))])
    running = (await client.get(f"{QUEUE}/status/{job_id}")).json()
    await memory.queue.settle([Completed(held.hold, {"faces": []})])

    ended = (await client.get(f"{QUEUE}/status/{job_id}", headers={"authorization": ""})).json()

    assert (running["status"], running["progress"]["progress_percentage"]) == ("processing", 25)
    assert (ended["status"], ended["result"], ended["error"]) == ("completed", {"faces": []}, None)
    assert ended["job_type"] == "image"


async def test_an_error_is_called_failed_here(client, memory):
    job_id = await submit(client)
    held = await claim(memory)
    await memory.queue.settle([Failed(held.hold, Failure("empty_image", "no bytes"), None)])

    job = (await client.get(f"{QUEUE}/status/{job_id}")).json()

    assert (job["status"], job["error"]) == ("failed", "no bytes")


async def test_a_job_is_cancelled_by_its_owner_alone(client):
    job_id = await submit(client)
    path = f"{QUEUE}/cancel/{job_id}"

    foreign = await client.post(path, headers={"authorization": "Bearer bob"})
    own = await client.post(path)

    assert (foreign.status_code, foreign.json()["code"]) == (404, "404")
    assert own.json()["success"] is True
    assert (await client.get(f"{QUEUE}/status/{job_id}")).json()["status"] == "cancelled"


async def test_without_a_token_the_gateway_says_so_in_its_words(client):
    answer = await client.post(f"{QUEUE}/submit/image", json=IMAGE, headers={"authorization": ""})

    assert (answer.status_code, answer.json()["code"]) == (401, "401")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_key_in_the_header_answers_the_same_job(client, blobs):
    key = {"idempotency-key": "k"}

    first = await client.post(f"{QUEUE}/submit/image", json=IMAGE, headers=key)
    second = await client.post(f"{QUEUE}/submit/image", json=IMAGE, headers=key)

    assert first.json()["job_id"] == second.json()["job_id"]
    assert len(blobs.files) == 1


@pytest.mark.parametrize("path", [f"{QUEUE}/status/x", "/api/v1/batch/x/status"])
async def test_an_unforeseen_fault_is_told_in_the_gateways_words(client, monkeypatch, path):
    async def broken(*_arguments, **_options):
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("omma.services.jobs.JobService.get", broken)
    monkeypatch.setattr("omma.services.batches.BatchService.get", broken)

    answer = await client.get(path)

    error = answer.json()
    assert answer.status_code == 500
    assert error.keys() == {"success", "error", "code", "timestamp", "error_code"}
    assert (error["code"], error["error_code"]) == ("500", "internal_error")
    assert "inside" not in answer.text


@pytest.mark.parametrize("kind", ["image", "gallery", "scene", "face_embedding"])
@pytest.mark.parametrize("entity", [None, {"id": "7", "type": "performer"}])
async def test_a_job_is_of_the_type_that_it_was_submitted_as(client, kind, entity):
    job_id = await submit(client, kind, **IMAGE, entity=entity)

    assert (await client.get(f"{QUEUE}/status/{job_id}")).json()["job_type"] == kind
    assert (await client.get(f"/job/{job_id}")).json()["task_type"] == "face_embedding"


@pytest.mark.parametrize("limit", [0, 10])
async def test_a_batch_is_of_the_type_that_it_was_submitted_as(client, limit):
    body = {"type": "scene", "items": [IMAGE]}
    batch_id = (await client.post("/api/v1/batch/submit", json=body)).json()["batch_id"]

    batch = (await client.get(f"/api/v1/batch/{batch_id}/status?limit={limit}")).json()

    assert batch["job_type"] == "scene"
    assert [each["job_type"] for each in batch["items"]] == ["scene"][:limit]
