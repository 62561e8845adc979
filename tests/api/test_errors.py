import logging

import pytest

from omma.domain.errors import ModelCorrupt, NotReady, OutOfMemory
from tests.fakes import picture
from tests.logged import logged

DETECT = "/api/v1/faces/detect"


async def post(client, **keywords):
    return await client.post(DETECT, files={"file": picture()}, **keywords)


async def test_a_problem_has_every_field_of_the_rfc_and_ours(client):
    answer = await client.post(DETECT, headers={"x-request-id": "r1"})

    assert answer.json() == {
        "type": "urn:omma:problem:empty_image",
        "title": "No image came, or one of zero bytes.",
        "status": 422,
        "detail": "expected an image, got no bytes",
        "code": "empty_image",
        "request_id": "r1",
    }


async def test_an_unknown_path_is_a_404_problem(client):
    answer = await client.get("/nope")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


async def test_a_wrong_method_is_a_405_problem_that_says_which_is_right(client):
    answer = await client.get(DETECT)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("fault", "retry_after"), [(NotReady("loading", 4), "4"), (OutOfMemory("full"), "5")]
)
async def test_what_may_pass_is_503_with_retry_after(client, detector, fault, retry_after):
    detector.fault = fault

    answer = await post(client)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == retry_after
    assert answer.json()["code"] == fault.code


@pytest.mark.parametrize("fault", [RuntimeError("the secret"), ModelCorrupt("/the/secret.onnx")])
async def test_our_own_fault_is_500_without_its_inside_and_logged_once(
    client, detector, caplog, fault
):
    detector.fault = fault

    with caplog.at_level(logging.ERROR):
        answer = await post(client)

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "secret" not in answer.text
    [record] = logged(caplog, "omma", logging.ERROR)
    assert "secret" in record.exc_text or "secret" in str(record.exc_info[1])
    assert record.request_id == answer.json()["request_id"]


async def test_a_fault_still_answers_browsers_of_other_sites(connect, detector):
    detector.fault = RuntimeError("broken")

    answer = await post(connect(cors_origins=("http://a",)), headers={"origin": "http://a"})

    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == "http://a"
    assert answer.headers["x-request-id"]
