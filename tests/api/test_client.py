import os

import httpx
import pytest

from omma.client import (
    AnswerTimeout,
    Client,
    ClientError,
    NotOmma,
    RequestRefused,
    ServerUnreachable,
    connection,
)
from omma.wire.faces import DetectParams, EmbedParams
from tests.fakes import DIMENSION, picture


@pytest.fixture
async def client(build):
    async with Client("http://localhost", transport=httpx.ASGITransport(build())) as client:
        yield client


def client_of(handler, **options):
    return Client("http://localhost", transport=httpx.MockTransport(handler), **options)


async def test_a_detection_comes_as_typed_values(client):
    answer = await client.detect(picture(3), DetectParams(max_faces=2))

    assert [face.face_index for face in answer.faces] == [0, 1]
    assert answer.faces[0].landmarks.nose == (25.06, 38.25)


async def test_an_embedding_comes_with_its_numbers(client):
    answer = await client.embed(picture(), EmbedParams(models=("facenet",)))

    [face] = answer.faces
    assert len(face.embeddings["facenet"].values) == DIMENSION


async def test_a_batch_keeps_names_and_order(client):
    answer = await client.embed_batch([("a", picture()), ("b", b"truncated")])

    assert [item.filename for item in answer.results] == ["a", "b"]
    assert answer.results[0].result.faces
    assert answer.results[1].error.code == "truncated_image"


async def test_health_is_the_servers_own_word(client):
    assert (await client.health()).status == "healthy"


async def test_a_refusal_carries_its_problem(client):
    with pytest.raises(RequestRefused, match="model_not_found: no model named 'x'") as refusal:
        await client.embed(picture(), EmbedParams(models=("x",)))

    assert refusal.value.problem.status == 404


async def test_a_busy_server_is_asked_again_when_it_said(monkeypatch, build):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(connection.asyncio, "sleep", sleep)
    api = httpx.ASGITransport(build())

    async def twice_busy(request):
        if len(waits) < 2:
            return httpx.Response(503, headers={"retry-after": "4"})
        return await api.handle_async_request(request)

    async with client_of(twice_busy) as client:
        answer = await client.detect(picture())

    assert len(answer.faces) == 1
    assert all(4 <= seconds < 5 for seconds in waits)


async def test_a_server_that_stays_busy_is_left_in_the_end():
    problem = {
        "type": "urn:x", "title": "x", "status": 503, "detail": "full", "code": "overloaded",
    }  # fmt: skip

    async with client_of(lambda _: httpx.Response(503, json=problem), busy_retries=0) as client:
        with pytest.raises(RequestRefused, match="overloaded"):
            await client.detect(picture())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (httpx.ConnectError("refused"), ServerUnreachable),
        (httpx.ConnectTimeout("slow"), ServerUnreachable),
        (httpx.ReadError("reset"), ServerUnreachable),
        (httpx.ReadTimeout("slow"), AnswerTimeout),
    ],
)
async def test_what_happens_on_the_way_is_told_apart(fault, error):
    def handler(_request):
        raise fault

    async with client_of(handler) as client:
        with pytest.raises(error):
            await client.detect(picture())


@pytest.mark.parametrize("status", [200, 404])
async def test_another_service_at_that_url_is_recognised(status):
    async with client_of(lambda _: httpx.Response(status, text="<html>")) as client:
        with pytest.raises(NotOmma):
            await client.detect(picture())


@pytest.mark.parametrize("url", ["http://[::1", "localhost:8000", "", "ftp://x", "http://\udcff"])
def test_what_is_no_url_is_told_as_such(url):
    with pytest.raises(ClientError, match="expected an http or https URL"):
        Client(url)


@pytest.mark.parametrize("token", ["é", "two\nlines"])
def test_what_no_header_can_carry_is_no_token(token):
    with pytest.raises(ClientError, match="token") as caught:
        Client("http://localhost", token=token)

    assert token not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])
async def test_a_server_of_this_machine_is_asked_without_a_proxy(monkeypatch, url):
    monkeypatch.setenv("http_proxy", "http://proxy.test:1")

    async with Client(url) as client:
        with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1|localhost|::1"):
            await client.health()


async def test_a_name_that_is_not_utf8_is_sent_by_its_escapes(client):
    answer = await client.embed_batch([(os.fsdecode(b"th\xe9.jpg"), picture())])

    assert answer.results[0].filename == r"th\xe9.jpg"
