"""Requests that were damaged at random: answered, or refused as a problem, and soon."""

import base64
import random
import time
from urllib.parse import quote_from_bytes

import pytest

from omma.api.access import rules_of
from omma.api.app import ApiOptions, build_api
from omma.services.tokens import Gatekeeper
from tests.fakes import picture
from tests.service_fakes import NamedTokens, fake_services

MUTANTS = 500  # of each kind
MOST_S = 2.0  # CPU seconds of one answer
JOB_ID = "0b0e2a6e-6d3f-4f7e-9b43-1f2d5f3a7c11"
NAMES = {"task_type": "face_detection", "job_type": "image", "name": "cards", "index": "cards"}
EXTREMES = (
    b"",
    b"\0",
    b"-1",
    b"1e400",
    b"NaN",
    b"9" * 400,
    b"null",
    b"[" * 400,
    b'"' + b"a" * 3000,
    b"\xff\xfe",
    b"\r\n\r\n",
    "ä¹²\U0001f4a5".encode(),
    b"%00%ff",
    b"../" * 50,
)
IMAGE = base64.b64encode(picture())
PART = b'--b\r\ncontent-disposition: form-data; name="%s"; filename="a.jpg"\r\n\r\n%s\r\n'
JSON = b"application/json"
BODIES = {
    "form": [
        (b"multipart/form-data; boundary=b", PART % (b"file", picture()) + b"--b--\r\n"),
        (
            b"multipart/form-data; boundary=b",
            PART % (b"file", b"x") + PART % (b"params", b"{}") + b"--b--\r\n",
        ),
    ],
    "json": [
        (JSON, b'{"image": "%s"}' % IMAGE),
        (JSON, b'{"url": "http://pictures.test/1"}'),
        (
            JSON,
            (
                b'{"url": "http://pictures.test/1", "priority": 5, "params": {"min_score": 0.5},'
                b' "entity": {"kind": "image", "id": "7"}, "idempotency_key": "k"}'
            ),
        ),
        (JSON, b'{"image_data": "%s", "threshold": 0.5, "images": [], "timeout": 30}' % IMAGE),
        (JSON, b'{"force": true, "dry_run": false, "version": "v1"}'),
    ],
    "items": [
        (JSON, b'{"type": "image", "items": [{"url": "http://pictures.test/1"}, {}]}'),
        (
            b"application/x-ndjson",
            b'{"url": "http://pictures.test/1"}\n\n{"media_store_id": "7"}\n',
        ),
    ],
    "bytes": [(b"image/jpeg", picture()), (b"application/octet-stream", picture())],
}
QUERY = b"type=image&min_score=0.5&max_faces=3&det_size=auto&limit=5&cursor=7&status=pending&q=a"
HEADERS = (
    (b"authorization", b"Bearer admin"),
    (b"range", b"bytes=0-5"),
    (b"idempotency-key", b"k"),
    (b"last-event-id", b"3"),
    (b"if-none-match", b'"a"'),
    (b"accept", b"text/html;q=0.9,*/*"),
    (b"origin", b"http://127.0.0.1"),
    (b"content-encoding", b"identity"),
)


def spoiled(data, rng):
    """``data`` with bits turned, a part gone, doubled or replaced, or something extreme within."""
    at, to = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    match rng.randrange(5):
        case 0:
            changed = bytearray(data)
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            return bytes(changed)
        case 1:
            return data[:at]
        case 2:
            return data[:at] + data[to:]
        case 3:
            return data[:to] + data[at:]
        case _:
            return data[:at] + rng.choice(EXTREMES) + data[to if rng.random() < 0.5 else at :]


def mutants(kind, targets):
    """Requests of one kind, the same for every run: method, path, query, headers, body."""
    rng = random.Random(kind)  # noqa: S311  no secret
    for _ in range(MUTANTS):
        method, path = rng.choice(targets)
        media_type, body = rng.choice(BODIES[kind if kind in BODIES else "json"])
        query, headers = QUERY, list(HEADERS[:1])
        if kind == "query":
            query = quote_from_bytes(spoiled(query, rng), safe="=&%;+").encode()
        elif kind == "headers":
            name, value = rng.choice(HEADERS)
            value = spoiled(value, rng).translate(None, b"\r\n\0")  # servers let none through
            headers = [(name, value), *headers[name == b"authorization" :]]
        else:
            body = spoiled(body, rng)
        headers += [(b"content-type", media_type), (b"host", b"127.0.0.1:8000")]
        yield method, path, query, headers, body


def targets_of(app, kind):
    """Every route that reads what ``kind`` spoils; sockets and streams apart."""
    for rule in rules_of(app):
        words = rule.path.replace(":path", "").split("/")
        names = {word.strip("{}") for word in words if word.startswith("{")}
        path = "/".join(words).format(**{name: NAMES.get(name, JOB_ID) for name in names})
        reads_body = rule.method in {"POST", "DELETE", "PUT", "PATCH"}
        if rule.method != "WS" and "events" not in path and (reads_body or kind not in BODIES):
            yield rule.method, path


@pytest.mark.parametrize("kind", [*BODIES, "query", "headers"])
async def test_a_damaged_request_is_answered_or_refused_as_a_problem(reach, kind):
    app = build_api(fake_services(gate=Gatekeeper(NamedTokens())), ApiOptions())
    client, targets, wrong, codes = reach(app), list(targets_of(app, kind)), [], set()

    for method, path, query, headers, body in mutants(kind, targets):
        started = time.thread_time()
        answer = await client.request(
            method,
            client.base_url.copy_with(raw_path=path.encode() + b"?" + query),
            headers=headers,
            content=body,
        )
        took_s = time.thread_time() - started
        codes.add(answer.status_code)
        is_told = answer.status_code < 400 or "json" in answer.headers.get("content-type", "")
        if answer.status_code > 499 or took_s > MOST_S or not is_told:
            wrong.append((method, path, query, headers, body[:200], answer.status_code, took_s))

    assert wrong == []
    assert len(codes) > 2  # not all were refused alike
