import asyncio
import logging

import pytest

from tests.fakes import picture
from tests.logged import logged

DETECT = "/api/v1/faces/detect"


async def test_a_request_keeps_the_id_it_came_with(client):
    answer = await client.get("/", headers={"x-request-id": "abc-123"})

    assert answer.headers["x-request-id"] == "abc-123"


@pytest.mark.parametrize("theirs", ["", "a b", "x" * 129, "new\tline", "<script>"])
async def test_an_id_unfit_for_a_log_line_is_replaced(client, theirs):
    answer = await client.get("/", headers={"x-request-id": theirs})

    assert answer.headers["x-request-id"] != theirs
    assert len(answer.headers["x-request-id"]) == 32


async def test_two_requests_have_two_ids(client):
    one, two = await client.get("/"), await client.get("/")

    assert one.headers["x-request-id"] != two.headers["x-request-id"]


async def test_a_server_in_front_may_answer_the_id_itself(connect):
    answer = await connect(echo_request_id=False).get("/nope", headers={"x-request-id": "abc"})

    assert "x-request-id" not in answer.headers
    assert answer.json()["request_id"] == "abc"


async def test_every_answer_is_one_line_in_the_log(client, caplog):
    with caplog.at_level(logging.INFO, "omma.api.requests"):
        await client.get("/nope?token=private", headers={"x-request-id": "abc"})

    [record] = logged(caplog, "omma.api.requests", logging.INFO)
    assert (record.method, record.path, record.status) == ("GET", "/nope", 404)
    assert record.request_id == "abc"
    assert record.took_ms >= 0


async def test_no_other_site_may_read_answers_by_default(client):
    answer = await client.get("/", headers={"origin": "http://elsewhere"})

    assert "access-control-allow-origin" not in answer.headers


async def test_sites_of_the_setting_may_read_answers(connect):
    client = connect(cors_origins=("http://here",))

    here = await client.get("/", headers={"origin": "http://here"})
    elsewhere = await client.get("/", headers={"origin": "http://elsewhere"})
    asked = await client.options(
        DETECT, headers={"origin": "http://here", "access-control-request-method": "POST"}
    )

    assert here.headers["access-control-allow-origin"] == "http://here"
    assert "access-control-allow-origin" not in elsewhere.headers
    assert asked.status_code == 200


async def test_work_is_cancelled_when_the_client_leaves(build, detector):
    detector.gate = asyncio.Event()
    app, sent = build(), []
    body = [{"type": "http.request", "body": picture(), "more_body": False}]

    async def receive():
        if body:
            return body.pop()
        await detector.arrived.acquire()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await app(_scope(), receive, send)

    assert detector.cancelled == 1
    assert app.state.context.admission.in_work("interactive") == 0


async def test_a_client_that_leaves_while_it_sends_costs_nothing(build, detector):
    app = build()

    async def receive():
        return {"type": "http.disconnect"}

    async def send(_message):
        pass

    await app(_scope(), receive, send)

    assert detector.asked == []
    assert app.state.context.admission.in_work("interactive") == 0


def _scope():
    headers = [(b"host", b"localhost"), (b"content-type", b"image/jpeg")]
    return {
        "type": "http",
        "method": "POST",
        "path": DETECT,
        "raw_path": DETECT.encode(),
        "query_string": b"",
        "headers": headers,
        "client": ("test", 1),
        "server": ("api", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
