import asyncio
import uuid

import pytest

from omma.domain.jobs import Completed, Failed, Failure
from omma.operations.registry import bind
from omma.services.intake import JobRules
from omma.services.tokens import Gatekeeper
from tests.fakes import capabilities, picture
from tests.job_fakes import MemoryJobs
from tests.service_fakes import MemoryBlobs, NamedTokens

FACES, MEDIA = "/job/face_detection", {"media_store_id": "m1"}
UNKNOWN = str(uuid.UUID(int=7))


def by(name):
    return {"authorization": f"Bearer {name}"}


@pytest.fixture
def memory():
    return MemoryJobs()


@pytest.fixture
def blobs():
    return MemoryBlobs()


@pytest.fixture
def client(connect_with, memory, blobs):
    gate = Gatekeeper(NamedTokens())
    client = connect_with(memory=memory, blobs=blobs, gate=gate, rules=JobRules(quota=3))
    client.headers.update(by("ann"))
    return client


async def create(client, path=FACES, **body):
    answer = await client.post(path, json=body or MEDIA)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def claim(memory):
    [claim] = await memory.queue.claim("r", ["face_detection"], limit=1, lease_s=30)
    return claim


async def test_a_job_is_created_as_documented(client, memory):
    job = await create(client, media_store_id="m1", priority=7)

    assert uuid.UUID(job["job_id"]).version == 4
    assert job["created_at"] == memory.now_ms
    assert {key: job[key] for key in ("task_type", "media_store_id", "status", "priority")} == {
        "task_type": "face_detection",
        "media_store_id": "m1",
        "status": "pending",
        "priority": 7,
    }
    assert job["result"] is job["error_message"] is job["started_at"] is None


async def test_anybody_who_knows_the_id_reads_the_job(client, memory):
    job_id = (await create(client))["job_id"]
    held = await claim(memory)
    await memory.queue.settle([Completed(held.hold, {"faces": []})])

    answer = await client.get(f"/job/{job_id}", headers={"authorization": ""})

    job = answer.json()
    assert (job["status"], job["result"], job["priority"]) == ("completed", {"faces": []}, 5)
    assert isinstance(job["completed_at"], int)


async def test_a_failed_job_says_why(client, memory):
    job_id = (await create(client))["job_id"]
    held = await claim(memory)
    await memory.queue.settle([Failed(held.hold, Failure("empty_image", "no bytes"), None)])

    job = (await client.get(f"/job/{job_id}")).json()

    assert (job["status"], job["error_message"]) == ("error", "no bytes")
    assert job["error_code"] == "empty_image"


async def test_an_unknown_task_type_is_400_and_names_those_there_are(client):
    answer = await client.post("/job/nonsense", json=MEDIA)

    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        f"Invalid task_type. Must be one of {', '.join(bind(capabilities()))}"
    )


async def test_the_same_media_waits_once_for_each_task(client):
    await create(client)

    again = await client.post(FACES, json=MEDIA)
    other = await client.post("/job/face_embedding", json=MEDIA)

    assert (again.status_code, again.json()["code"]) == (409, "duplicate_job")
    assert other.status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {"media_store_id": "m", "priority": 11},
        {"media_store_id": "m", "priority": -1},
        {"media_store_id": "m", "priority": "5"},
        {"media_store_id": ""},
        {"media_store_id": "m" * 201},
        {"media_store_id": "m", "params": {"min_score": 7}},
        {"media_store_id": "m", "params": {"nonsense": 7}},
        {"media_store_id": "m", "callback_url": "file:///etc/passwd"},
        {"media_store_id": "m", "callback_url": "http://"},
        {"media_store_id": "m", "scheduled_at": "soon"},
        {"media_store_id": "m", "surplus": 1},
        {"url": "ftp://here"},
        {},
        [],
    ],
)
async def test_what_is_wrong_is_422_and_nothing_is_kept(client, memory, body):
    answer = await client.post(FACES, json=body)

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_input"
    assert memory.rows == {}


async def test_another_form_of_body_is_415(client):
    answer = await client.post(FACES, content=b"x", headers={"content-type": "text/plain"})

    assert answer.status_code == 415


async def test_a_url_is_kept_for_the_runner(client, memory):
    job = await create(client, url="https://example.com/a.jpg")

    [image] = memory.rows[job["job_id"]].job.asked.images
    assert image.url == "https://example.com/a.jpg"
    assert job["media_store_id"] is None


async def test_an_upload_is_put_where_the_runner_finds_it(client, memory, blobs):
    form = {"priority": "0", "media_store_id": "m9", "params": '{"max_faces": 2}'}

    answer = await client.post(FACES, files={"file": ("a.jpg", picture())}, data=form)

    assert answer.status_code == 201
    job_id = answer.json()["job_id"]
    asked = memory.rows[job_id].job.asked
    assert (asked.priority, asked.media_store_id, asked.params["max_faces"]) == (0, "m9", 2)
    assert blobs.files == {f"uploads/{job_id}/0": picture()}
    assert asked.images[0].blob == f"uploads/{job_id}/0"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"files": {"file": b""}}, 422),
        ({"files": {"file": b"x" * 100_001}}, 413),
        ({"files": {"file": b"x"}, "data": {"priority": "11"}}, 422),
        ({"files": {"file": b"x"}, "data": {"params": "{"}}, 422),
        ({"files": {"file": b"x"}, "data": {"url": "http://a.test/"}}, 422),
        ({"files": {"other": b"x"}}, 422),
        ({"files": [("file", b"x"), ("file", b"y")]}, 422),
    ],
)
async def test_a_form_that_is_wrong_leaves_nothing(client, memory, blobs, form, status):
    answer = await client.post(FACES, **form)

    assert answer.status_code == status
    assert memory.rows == blobs.files == {}


async def test_the_same_key_answers_the_same_job_and_leaves_no_second_file(client, memory, blobs):
    async def send():
        return await client.post(FACES, files={"file": picture()}, headers={"idempotency-key": "k"})

    first, second = await send(), await send()

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    [path] = blobs.files
    assert path.startswith(f"uploads/{first.json()['job_id']}/0-")
    assert len(memory.rows) == 1


async def test_the_same_key_for_another_picture_is_409_and_leaves_no_second_file(client, blobs):
    async def send(faces):
        files = {"file": picture(faces)}
        return await client.post(FACES, files=files, headers={"idempotency-key": "k"})

    first, second = await send(1), await send(2)

    assert (first.status_code, second.status_code) == (201, 409)
    assert second.json()["code"] == "idempotency_conflict"
    assert len(blobs.files) == 1


async def test_the_same_key_for_something_else_is_409(client):
    await create(client, media_store_id="m1", idempotency_key="k")

    answer = await client.post(FACES, json={"media_store_id": "m2", "idempotency_key": "k"})

    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")


async def test_a_refused_upload_leaves_no_file(client, blobs):
    form = {"files": {"file": picture()}, "data": MEDIA}
    await client.post(FACES, **form)

    refused = await client.post(FACES, **form)

    assert refused.status_code == 409
    assert len(blobs.files) == 1


async def test_an_owner_has_so_many_jobs_waiting_at_most(client):
    for number in range(3):
        await create(client, media_store_id=str(number))

    refused = await client.post(FACES, json=MEDIA)
    other = await client.post(FACES, json=MEDIA, headers=by("bob"))

    assert (refused.status_code, other.status_code) == (429, 201)
    assert int(refused.headers["retry-after"]) >= 1


async def test_many_at_once_become_as_many_jobs(connect_with, memory):
    client = connect_with(memory=memory)

    answers = await asyncio.gather(
        *(client.post(FACES, json={"media_store_id": str(n)}) for n in range(100))
    )

    assert {answer.status_code for answer in answers} == {201}
    assert len(memory.rows) == len({answer.json()["job_id"] for answer in answers}) == 100


async def test_a_job_may_begin_later(client, memory):
    later = memory.now_ms + 60_000
    job = await create(client, media_store_id="m", scheduled_at=later)

    before = await memory.queue.claim("r", ["face_detection"], limit=1, lease_s=30)
    memory.advance(61)

    assert before == []
    assert job["scheduled_at"] == later
    assert (await claim(memory)).job.job_id == job["job_id"]


async def test_a_deleted_job_is_gone(client, memory):
    job_id = (await create(client))["job_id"]

    answer = await client.delete(f"/job/{job_id}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.get(f"/job/{job_id}")).status_code == 404
    assert memory.rows == {}


async def test_a_running_job_is_cancelled_at_once(client, memory):
    job_id = (await create(client))["job_id"]
    held = await claim(memory)

    answer = await client.post(f"/job/{job_id}/cancel")

    assert answer.json()["status"] == "cancelled"
    assert await memory.queue.renew([held.hold], lease_s=30) == {held.hold}
    assert (await client.post(f"/job/{job_id}/cancel")).status_code == 200


async def test_a_job_that_has_ended_cannot_be_cancelled_but_retried_where_it_failed(client, memory):
    job_id = (await create(client))["job_id"]
    held = await claim(memory)
    await memory.queue.settle([Failed(held.hold, Failure("empty_image", "no bytes"), None)])

    cancelled = await client.post(f"/job/{job_id}/cancel")
    retried = await client.post(f"/job/{job_id}/retry")
    again = await client.post(f"/job/{job_id}/retry")

    assert (cancelled.status_code, cancelled.json()["code"]) == (409, "job_state_conflict")
    assert (retried.status_code, retried.json()["status"]) == (200, "pending")
    assert again.status_code == 409


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry")],
)
async def test_unknown_and_foreign_jobs_read_alike(client, method, path):
    job_id = (await create(client))["job_id"]
    others = {**by("bob"), "x-request-id": "same"}

    foreign = await client.request(method, f"/job/{job_id}{path}", headers=others)
    unknown = await client.request(method, f"/job/{UNKNOWN}{path}", headers=others)
    no_id = await client.request(method, f"/job/nonsense{path}", headers=others)
    admin = await client.request(method, f"/job/{job_id}{path}", headers=by("admin"))

    assert foreign.status_code == 404
    assert foreign.content == unknown.content == no_id.content
    assert admin.status_code != 404


@pytest.mark.parametrize("job_id", [UNKNOWN, "nonsense", "%00", UNKNOWN[:-1], "a" * 5000])
async def test_ids_that_name_nothing_are_404(client, job_id):
    answer = await client.get(f"/job/{job_id}")

    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


async def test_a_list_shows_ones_own_newest_first_in_pages(client):
    ids = [(await create(client, media_store_id=str(n)))["job_id"] for n in range(3)]
    await client.post(FACES, json=MEDIA, headers=by("bob"))

    first = (await client.get("/jobs", params={"limit": 2})).json()
    second = (await client.get("/jobs", params={"cursor": first["next_cursor"]})).json()
    everybodys = (await client.get("/jobs", headers=by("admin"))).json()

    assert [job["job_id"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
    assert second["next_cursor"] is None
    assert len(everybodys["jobs"]) == 4
    assert "result" not in first["jobs"][0]


async def test_a_list_may_be_narrowed(client):
    await create(client)
    other = await create(client, "/job/face_embedding")
    await client.post(f"/job/{other['job_id']}/cancel")

    async def count(**params):
        return len((await client.get("/jobs", params=params)).json()["jobs"])

    assert await count(status="cancelled") == 1
    assert await count(status="pending,cancelled") == 2
    assert await count(task_type="face_embedding") == 1
    assert await count(batch=UNKNOWN) == await count(batch="nonsense") == 0
    assert (await client.get("/jobs", params={"status": "failed"})).status_code == 422
    assert (await client.get("/jobs", params={"cursor": "x"})).status_code == 422


async def test_the_database_away_is_503_with_retry_after(client, memory):
    memory.is_down = True

    answer = await client.post(FACES, json=MEDIA)

    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"] == "5"


async def test_without_a_token_nothing_is_taken(client):
    answer = await client.post(FACES, json=MEDIA, headers={"authorization": ""})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_health_knows_the_queue(client):
    idle = (await client.get("/health")).json()

    assert idle["queue_size"] == 0
    assert idle["suggested_polling_interval"] == 30


async def test_health_is_degraded_while_the_database_is_away(client, memory):
    memory.is_down = True

    answer = await client.get("/health")

    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["database"] == "unavailable"
    assert answer.json()["queue_size"] is None


@pytest.mark.parametrize(("running", "interval"), [(True, 2), (False, 10)])
async def test_health_says_how_often_to_look(client, memory, running, interval):
    await create(client)
    if running:
        await claim(memory)

    health = (await client.get("/health")).json()

    assert health["suggested_polling_interval"] == interval
    assert health["queue_size"] == (0 if running else 1)


class SlowBlobs(MemoryBlobs):
    """Puts that wait until they are let go."""

    def __init__(self):
        super().__init__()
        self.has_begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def put(self, path, data):
        self.has_begun.set()
        await self.may_end.wait()
        await super().put(path, data)


async def test_an_upload_has_its_place_until_the_blob_store_has_it(connect):
    blobs = SlowBlobs()
    client = connect(blobs=blobs, max_jobs=1)
    upload = {"files": {"file": ("a.jpg", picture())}}
    async with asyncio.TaskGroup() as group:
        first = group.create_task(client.post(FACES, **upload))
        await blobs.has_begun.wait()

        refused = await client.post(FACES, **upload)
        blobs.may_end.set()

    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert (await first).status_code == 201
    assert (await client.post(FACES, **upload)).status_code == 201


ENDS_OF_TIME = [
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
    "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+14:00",
]  # fmt: skip


@pytest.mark.parametrize("at", ENDS_OF_TIME)
@pytest.mark.parametrize("path", [FACES, "/api/v1/queue/submit/image"])
async def test_a_time_beyond_what_milliseconds_say_is_refused(client, memory, at, path):
    answer = await client.post(path, json={"url": "http://a.test/", "scheduled_at": at})

    assert answer.status_code == 422
    assert "9999" in answer.text
    assert memory.rows == {}


@pytest.mark.parametrize("at", [0, 253_402_300_799_000, "9999-12-31T23:59:59Z"])
async def test_the_first_and_the_last_time_are_times(client, at):
    await create(client, url="http://a.test/", scheduled_at=at)
