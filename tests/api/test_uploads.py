import base64
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omma.api import images
from omma.api.app import UploadLimits
from omma.api.base64_images import decode
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


def lines(text, ends="\n", width=76):
    return ends.join(text[at : at + width] for at in range(0, len(text), width)) + ends


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
        ({"json": {"image": "AAA"}}, "undecodable_image"),
        ({"json": {"image": "AAA=="}}, "invalid_input"),
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
        {
            "json": {
                "image": lines(encoded(picture() + b" " * (MAX_BYTES - len(picture()))), "\r\n", 64)
            }
        },
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


BYTES = picture() + bytes(range(256)) + b"??>>"  # all of both alphabets, and two of padding


@pytest.mark.parametrize(
    "text",
    [
        lines(encoded(BYTES)),
        lines(encoded(BYTES), "\r\n", 64),
        "  " + lines(encoded(BYTES), "\n\t "),
        base64.urlsafe_b64encode(BYTES).decode(),
        encoded(BYTES).rstrip("="),
        base64.urlsafe_b64encode(BYTES).decode().rstrip("="),
        f"DATA:Image/JPEG;Base64,{encoded(BYTES)}",
        f"data:;charset=x;base64,\n{lines(encoded(BYTES))}",
        encoded(BYTES).replace("=", "=\n"),
    ],
    ids=["lines", "pem", "indented", "url", "bare", "url bare", "case", "data lines", "end"],
)
async def test_base64_is_read_as_programs_write_it(client, detector, text):
    await client.post(DETECT, json={"image": text})

    assert detector.asked[0][0] == [BYTES]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("AAAA!AAA", "image: expected base64, got '!' at character 5"),
        ("data:image/png;base64,AA\nAé", "image: expected base64, got 'é' at character 27"),
        ("AAAAA", "image: expected base64, got one character more than whole bytes have"),
        ("AAAA=AAA", "image: expected the end after '=' at character 5"),
        ("AAA==", "image: expected 1 of '=' at the end, got 2"),
        ("AAAA=", "image: expected 0 of '=' at the end, got 1"),
        (
            "data:image/png,AAAA",
            "image: expected a data URL in base64, as data:image/jpeg;base64,...",
        ),
    ],
)
async def test_what_is_no_base64_is_told_with_its_place(client, text, detail):
    answer = await client.post(DETECT, json={"image": text})

    assert (answer.status_code, answer.json()["detail"]) == (422, detail)


@given(st.binary(max_size=300), st.integers(1, 90), st.booleans(), st.booleans())
def test_whatever_is_written_in_base64_is_read_back(data, width, is_for_urls, is_padded):
    encode = base64.urlsafe_b64encode if is_for_urls else base64.b64encode
    text = lines(
        encode(data).decode() if is_padded else encode(data).decode().rstrip("="), "\n", width
    )

    assert decode(text, "image", max(len(data), 300)) == data


async def test_the_foreign_character_of_large_base64_is_found(connect):
    client = connect(uploads=UploadLimits())

    answer = await client.post(DETECT, json={"image": "A" * (3 * 2**20 + 1) + "ß" + "A" * 2**20})

    assert answer.json()["detail"].endswith(f"got 'ß' at character {3 * 2**20 + 2}")


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
