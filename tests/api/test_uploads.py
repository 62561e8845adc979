import base64
from types import SimpleNamespace

import pytest

from omma.api import images
from omma.api.app import UploadLimits
from omma.domain.errors import UrlRefused, UrlTimeout, UrlUnreachable
from tests.fakes import picture

DETECT = "/api/v1/faces/detect"
JPEG = {"content-type": "image/jpeg"}
LONG_BOUNDARY = "multipart/form-data; boundary=" + "b" * 300
FORM = {"content-type": "multipart/form-data; boundary=b"}
MAX_BYTES = 100_000  # conftest's limit


def part(body, name="file", filename="a.jpg"):
    head = f'--b\r\ncontent-disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
    return head.encode() + body + b"\r\n"


WHOLE = part(picture()) + b"--b--\r\n"


def encoded(data):
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "form",
    [
        {"files": {"file": picture()}},
        {"files": {"file": ("", picture())}},
        {"content": picture(), "headers": JPEG},
        {"content": picture(), "headers": {"content-type": "image/unheard-of; x=y"}},
        {"content": picture(), "headers": JPEG | {"content-encoding": ""}},
        {"content": picture(), "headers": JPEG | {"content-encoding": "Identity"}},
        {"content": picture(), "headers": {"content-type": "Application/Octet-Stream"}},
        {"json": {"image": encoded(picture())}},
        {"json": {"image": f"data:image/jpeg;base64,{encoded(picture())}"}},
        {"json": {"url": "http://pictures.test/1"}},
    ],
)
async def test_an_image_is_read_in_every_documented_form(client, urls, detector, form):
    urls.pages["http://pictures.test/1"] = picture()

    answer = await client.post(DETECT, **form)

    assert answer.status_code == 200
    assert detector.asked[0][0] == [picture()]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, "empty_image"),
        ({"content": b"", "headers": JPEG}, "empty_image"),
        ({"files": {"file": b""}}, "empty_image"),
        ({"files": {"other": picture()}}, "empty_image"),
        ({"files": [("file", picture()), ("file", picture())]}, "invalid_input"),
        ({"content": b"not a picture", "headers": JPEG}, "undecodable_image"),
        ({"content": b"truncated", "headers": JPEG}, "truncated_image"),
        ({"json": {"image": "!!!"}}, "invalid_input"),
        ({"json": {"image": "AAA"}}, "invalid_input"),
        ({"json": {"image": "AA\n=="}}, "invalid_input"),
        ({"json": {"image": "ä"}}, "invalid_input"),
        ({"json": {"image": "data:image/png,plain"}}, "invalid_input"),
        ({"json": {"image": "data:image/png;base64,"}}, "empty_image"),
        ({"json": {"image": ""}}, "invalid_input"),
        ({"json": {"image": None}}, "invalid_input"),
        ({"json": {}}, "invalid_input"),
        ({"json": []}, "invalid_input"),
        ({"json": {"url": "http://a/", "image": "AAAA"}}, "invalid_input"),
        ({"json": {"url": 5}}, "invalid_input"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, "invalid_input"),
        ({"content": b"\xff", "headers": {"content-type": "application/json"}}, "invalid_input"),
        ({"content": b"", "headers": FORM}, "invalid_input"),
        ({"content": b"nonsense", "headers": FORM}, "invalid_input"),
        ({"content": part(picture()), "headers": FORM}, "invalid_input"),  # never closed
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "invalid_input"),
        (
            {"content": b"--b--\r\n", "headers": FORM},
            "empty_image",
        ),
        (
            {"content": b"x", "headers": {"content-type": LONG_BOUNDARY}},
            "invalid_input",
        ),
        (
            {"content": b"--b\r\n" + b"x: y\r\n" * 50 + b"\r\n--b--\r\n", "headers": FORM},
            "invalid_input",
        ),
        (
            {"content": b"--b\r\nx: " + b"y" * 9000 + b"\r\n\r\n\r\n--b--\r\n", "headers": FORM},
            "invalid_input",
        ),
        (
            {"content": part(picture(), filename=";" * 65) + b"--b--\r\n", "headers": FORM},
            "invalid_input",
        ),
        (
            {"content": WHOLE, "headers": {"content-type": FORM["content-type"] + ";" * 65}},
            "invalid_input",
        ),
        (
            {"content": WHOLE, "headers": {"content-type": FORM["content-type"] + " " * 4096}},
            "invalid_input",
        ),
        (
            {"content": part(b"", "note") * 50 + b"--b--\r\n", "headers": FORM},
            "invalid_input",
        ),
    ],
)  # fmt: skip
async def test_what_is_no_image_is_422_with_the_reason(client, form, code):
    answer = await client.post(DETECT, **form)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "video/mp4"},
        {"content-type": "nonsense"},
        {},
        {"content-type": "image/jpeg", "content-encoding": "gzip"},
    ],
)
async def test_another_content_type_is_415_and_says_what_is_read(client, headers):
    answer = await client.post(DETECT, content=picture(), headers=headers)

    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported_media_type"
    assert "expected" in answer.json()["detail"]


@pytest.mark.parametrize(
    "form",
    [
        {"content": b"x" * (MAX_BYTES + 1), "headers": JPEG},
        {"files": {"file": b"x" * (MAX_BYTES + 1)}},
        {"files": {"file": b"x" * (3 * MAX_BYTES)}},
        {"json": {"image": encoded(b"x" * (MAX_BYTES + 1))}},
        {"json": {"image": "x" * (2 * MAX_BYTES)}},
    ],
)
async def test_one_byte_too_many_is_413_and_names_the_limit(client, detector, form):
    answer = await client.post(DETECT, **form)

    assert answer.status_code == 413
    assert answer.json()["code"] == "too_many_bytes"
    assert answer.json()["detail"] == "expected at most 100000 bytes"
    assert detector.asked == []


@pytest.mark.parametrize(
    "form",
    [
        {"content": picture() + b" " * (MAX_BYTES - len(picture())), "headers": JPEG},
        {"files": {"file": picture() + b" " * (MAX_BYTES - len(picture()))}},
        {"json": {"image": encoded(picture() + b" " * (MAX_BYTES - len(picture())))}},
    ],
)
async def test_as_many_bytes_as_the_limit_are_taken(client, detector, form):
    await client.post(DETECT, **form)

    assert len(detector.asked[0][0][0]) == MAX_BYTES


@pytest.mark.parametrize("headers", [JPEG, FORM, {"content-type": "application/json"}])
async def test_an_endless_body_is_left_soon_after_the_limit(client, headers):
    sent = 0

    async def endless():
        nonlocal sent
        yield part(b"")[:-2] if headers is FORM else b""
        while True:
            sent += 10_000
            yield b"x" * 10_000

    answer = await client.post(DETECT, content=endless(), headers=headers)

    assert answer.status_code == 413
    assert sent < 3 * MAX_BYTES


async def test_a_bomb_is_413_by_what_its_header_says(client):
    answer = await client.post(DETECT, content=b"bomb", headers=JPEG)

    assert answer.status_code == 413
    assert answer.json()["code"] == "too_many_pixels"


@pytest.mark.parametrize("error", [UrlRefused, UrlTimeout, UrlUnreachable])
async def test_a_url_that_gives_no_image_is_422_with_the_reason(client, urls, error):
    urls.pages["http://here/"] = error("because")

    answer = await client.post(DETECT, json={"url": "http://here/"})

    assert answer.status_code == 422
    assert answer.json()["code"] == error.code
    assert answer.json()["detail"] == "because"


async def test_a_file_may_be_cut_anywhere_between_the_chunks_of_a_body(client, detector):
    form = part(b"ignored", "note") + part(b"\r\n--b" + picture() + b"\r\n-") + b"--b--\r\n"

    async def drip():
        for byte in form:
            yield bytes([byte])

    await client.post(DETECT, content=drip(), headers=FORM)

    assert detector.asked[0][0] == [b"\r\n--b" + picture() + b"\r\n-"]


@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 3 * 2**20 + 1])
async def test_large_base64_is_decoded_whole(connect, detector, size):
    image = bytes(range(256)) * (size // 256 + 1)
    client = connect(uploads=UploadLimits())

    await client.post(DETECT, json={"image": encoded(image[:size])})

    assert detector.asked[0][0] == [image[:size]]


async def test_padding_in_the_midst_of_large_base64_is_422(connect):
    client = connect(uploads=UploadLimits())

    answer = await client.post(DETECT, json={"image": "A" * (2**20 - 1) + "=" + "AAAA"})

    assert answer.json()["code"] == "invalid_input"


async def test_json_is_not_parsed_when_it_holds_a_tree(client, monkeypatch):
    def parse(_body):
        raise AssertionError

    monkeypatch.setattr(images, "REFERENCE", SimpleNamespace(validate_json=parse))
    bomb = b'{"image":[' + b"[0]," * 1000 + b"0]}"

    answer = await client.post(DETECT, content=bomb, headers={"content-type": "application/json"})

    assert answer.json()["code"] == "invalid_input"
    assert "structure" in answer.json()["detail"]


async def test_a_url_may_hold_commas_and_colons(client, urls):
    url = "http://pictures.test/1" + ",w:1" * 25
    urls.pages[url] = picture()

    answer = await client.post(DETECT, json={"url": url})

    assert answer.status_code == 200
