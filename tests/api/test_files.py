"""`GET /job/{job_id}/files/...`."""

import io
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from omma.api import errors, files
from omma.api.heads import Heads
from omma.domain.errors import StoreUnavailable
from omma.domain.jobs import Completed, Hold, ImageRef, Submission
from omma.services.files import CHUNK_BYTES, JobFiles
from omma.services.tokens import Gatekeeper
from omma.stores.blobs import open_blobs
from tests.job_fakes import MemoryJobs
from tests.service_fakes import NamedTokens

EMBEDDING = np.arange(512, dtype=np.float32)


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


FILES = {
    "embedding.bin": saved(EMBEDDING),
    "faces/0.jpg": b"\xff\xd8 a face",
    "faces/0.json": b"{}",
    "empty.bin": b"",
    "long.bin": bytes(range(256)) * (CHUNK_BYTES // 256 * 2) + b"the end",
}


@pytest.fixture
def jobs():
    return MemoryJobs()


@pytest.fixture
def blobs(tmp_path):
    return open_blobs(str(tmp_path / "blobs"))


@pytest.fixture
def job_files(jobs, blobs):
    return JobFiles(blobs, jobs.sweeps, jobs.store)


@pytest.fixture
async def client(job_files):
    app = FastAPI()
    app.state.context = SimpleNamespace(
        services=SimpleNamespace(files=job_files, gate=Gatekeeper(NamedTokens()))
    )
    app.include_router(files.router)
    errors.install(app)
    app.add_middleware(Heads)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
async def hold(jobs, job_files):
    """A job that has completed with its files, which still lie under its attempt."""
    images = (ImageRef(url="http://host/image"),)
    await jobs.store.submit([Submission("job-1", "work", images, "me")], quota=10)
    [claim] = await jobs.queue.claim("runner", ["work"], limit=1, lease_s=30)
    await job_files.store_attempt(claim.hold, FILES)
    await jobs.queue.settle([Completed(claim.hold, {}, has_files=True)])
    return claim.hold


@pytest.fixture
async def done(hold, job_files):
    await job_files.promote(hold)


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize("name", FILES)
async def test_a_file_arrives_as_it_was_kept(client, name):
    response = await client.get(f"/job/job-1/files/{name}")

    assert response.status_code == 200
    assert response.content == FILES[name]
    assert response.headers["content-length"] == str(len(FILES[name]))
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.usefixtures("done")
async def test_an_embedding_opens_with_numpy(client):
    response = await client.get("/job/job-1/files/embedding.bin")

    assert np.array_equal(np.load(io.BytesIO(response.content)), EMBEDDING)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == 'attachment; filename="embedding.bin"'


@pytest.mark.usefixtures("done")
async def test_a_picture_is_shown(client):
    response = await client.get("/job/job-1/files/faces/0.jpg")

    assert response.headers["content-type"] == "image/jpeg"
    assert "content-disposition" not in response.headers


async def test_a_file_that_has_not_moved_yet_is_found(client, hold, job_files):
    before = await client.get("/job/job-1/files/faces/0.jpg")
    await job_files.promote(hold)
    after = await client.get("/job/job-1/files/faces/0.jpg")

    assert before.content == after.content == FILES["faces/0.jpg"]
    assert before.headers["etag"] == after.headers["etag"]


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize(
    ("asked", "sent", "content_range"),
    [
        ("bytes=0-1", b"\xff\xd8", "bytes 0-1/9"),
        ("bytes=3-", b"a face", "bytes 3-8/9"),
        ("bytes=-4", b"face", "bytes 5-8/9"),
        ("bytes=-99", b"\xff\xd8 a face", "bytes 0-8/9"),
        ("bytes=8-99", b"e", "bytes 8-8/9"),
    ],
)
async def test_a_range_is_a_part(client, asked, sent, content_range):
    response = await client.get("/job/job-1/files/faces/0.jpg", headers={"range": asked})

    assert response.status_code == 206
    assert response.content == sent
    assert response.headers["content-range"] == content_range
    assert response.headers["content-length"] == str(len(sent))


@pytest.mark.usefixtures("done")
async def test_a_range_over_chunks_is_whole(client):
    asked = {"range": f"bytes=10-{2 * CHUNK_BYTES + 2}"}

    response = await client.get("/job/job-1/files/long.bin", headers=asked)

    assert response.content == FILES["long.bin"][10 : 2 * CHUNK_BYTES + 3]


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=0-1,3-4", "lines=0-1", "bytes=-", "bytes=a-b", "bytes=0x1-", ""]
)
async def test_what_is_no_single_range_gets_the_whole(client, asked):
    response = await client.get("/job/job-1/files/faces/0.jpg", headers={"range": asked})

    assert response.status_code == 200
    assert response.content == FILES["faces/0.jpg"]


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize(
    ("name", "asked"),
    [("faces/0.jpg", "bytes=9-"), ("faces/0.jpg", "bytes=-0"), ("empty.bin", "bytes=0-0")],
)
async def test_a_range_past_the_end_is_416(client, name, asked):
    response = await client.get(f"/job/job-1/files/{name}", headers={"range": asked})

    assert response.status_code == 416
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["content-range"] == f"bytes */{len(FILES[name])}"


@pytest.mark.usefixtures("done")
async def test_a_download_goes_on_only_with_the_same_file(client):
    url = "/job/job-1/files/faces/0.jpg"
    first = await client.get(url)
    part = {"range": "bytes=1-2"}

    async def status(condition):
        return (await client.get(url, headers={**part, "if-range": condition})).status_code

    assert await status(first.headers["etag"]) == 206
    assert await status(first.headers["last-modified"]) == 206
    assert await status('"another"') == 200


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
async def test_what_the_client_has_is_not_sent_again(client, form):
    url = "/job/job-1/files/faces/0.jpg"
    etag = (await client.get(url)).headers["etag"]

    response = await client.get(url, headers={"if-none-match": form.format(etag)})

    assert (response.status_code, response.content) == (304, b"")


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-modified-since": "{modified}"}, 304),
        ({"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
        ({"if-modified-since": "{modified}", "if-none-match": '"another"'}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-modified-since": "Mon, 01 Jan 99999999999 00:00:00 -9999"}, 200),
    ],
)
async def test_a_file_is_sent_again_where_it_changed_since(client, headers, status):
    url = "/job/job-1/files/faces/0.jpg"
    modified = (await client.get(url)).headers["last-modified"]

    answer = await client.get(
        url, headers={name: value.format(modified=modified) for name, value in headers.items()}
    )

    assert answer.status_code == status


@pytest.mark.usefixtures("done")
async def test_head_tells_what_get_would(client):
    url = "/job/job-1/files/faces/0.jpg"
    get, head = await client.get(url), await client.head(url)

    assert head.headers == get.headers
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.usefixtures("done")
@pytest.mark.parametrize(
    "path",
    [
        "job-1/files/nothing.bin",
        "job-1/files/faces",
        "job-1/files/",
        "job-1/files/..%2Fjob-2%2Fembedding.bin",
        "job-1/files/%2Fetc%2Fpasswd",
        "job-1/files/a%00b",
        "job-1/files/a%5Cb",
        f"job-1/files/{'a' * 5000}",
        "job-2/files/embedding.bin",
        "..%2Fjob-1/files/embedding.bin",
        "%00/files/embedding.bin",
        f"{'a' * 5000}/files/embedding.bin",
    ],
    ids=range(12),
)
async def test_whatever_is_not_there_gets_one_and_the_same_404(client, path):
    response = await client.get(f"/job/{path}")
    unknown = await client.get("/job/job-9/files/embedding.bin")

    assert response.status_code == 404
    if response.json()["code"] != "not_found":  # the framework's own, where no route fits
        assert response.content == unknown.content
        assert response.headers == unknown.headers


async def test_files_of_a_job_that_has_not_completed_are_not_shown(client, jobs, job_files):
    await jobs.store.submit([Submission("job-1", "work", (), "me")], quota=10)
    [claim] = await jobs.queue.claim("runner", ["work"], limit=1, lease_s=30)
    await job_files.store_attempt(claim.hold, FILES)

    assert (await client.get("/job/job-1/files/embedding.bin")).status_code == 404


@pytest.mark.usefixtures("done")
async def test_files_of_a_deleted_job_are_not_shown(client, jobs):
    await jobs.control.delete("job-1", limit=1)

    assert (await client.get("/job/job-1/files/embedding.bin")).status_code == 404


@pytest.mark.usefixtures("done")
async def test_records_that_do_not_answer_are_503(client, jobs):
    jobs.is_down = True

    response = await client.get("/job/job-1/files/embedding.bin")

    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"


@pytest.mark.usefixtures("done")
async def test_files_that_do_not_answer_are_503(client, blobs):
    async def read(*_path, **_part):
        raise StoreUnavailable("the blob store does not answer", 5)

    blobs.read = read

    assert (await client.get("/job/job-1/files/embedding.bin")).status_code == 503


async def test_another_attempts_files_are_not_shown(client, hold, job_files):
    await job_files.promote(hold)
    await job_files.store_attempt(Hold("job-1", 7), {"late.bin": b"x"})

    assert (await client.get("/job/job-1/files/late.bin")).status_code == 404
