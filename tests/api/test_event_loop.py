"""Nothing that a client sends holds the event loop: all others wait while it does."""

import asyncio
import base64
import gc
import time

import pytest

from omma.api.access import rules_of
from omma.api.app import ApiOptions, build_api
from omma.services.tokens import Gatekeeper
from tests.service_fakes import NamedTokens, fake_services

MOST_S = 0.05  # CPU time of the loop's thread in one callback: a busy neighbour adds none
SIZE = 2**20
NEAR_LARGE = 250 * 1024  # read on the loop: what is larger is read in a thread
PIECE = 2**16
TRIES = 5
JSON, LINES, IMAGE = "application/json", "application/x-ndjson", "image/jpeg"
FORM = "multipart/form-data; boundary=b"
KNOWN = {
    "task_type": "face_detection",
    "job_type": "image",
    "name": "cards",
    "index": "cards",
    "operation": "face_detection",
}
NOBODY = "0" * 8 + "-0000" * 3 + "-" + "0" * 12


def filled(unit, size=SIZE):
    return unit * (size // len(unit))


def part(head, body):
    return b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + body + b"\r\n--b--\r\n"


def files(body):
    return b"".join(part(b'name="%s"; filename="a"' % n, body)[:-7] for n in FIELDS) + b"--b--\r\n"


FIELDS = (b"file",)
TEXT = base64.b64encode(filled(b"\xff\xd8\xffpicture"))
ITEM = b'{"url": "https://example.com/a.jpg", "params": {}}'
BODIES = {
    "json text": (JSON, b'{"image": "%s", "image_data": "%s"}' % (TEXT, TEXT)),
    "json escapes": (JSON, b'{"image": "%s"}' % filled(rb"\u0041")),
    "json blanks": (JSON, filled(b" ")),
    "json numbers": (JSON, b'{"images": [%s1]}' % filled(b"1,")),
    "json depth": (JSON, filled(b"[")),
    "json digits": (JSON, filled(b"7")),
    "json names": (JSON, b"{%s}" % b",".join(b'"a%d":1' % n for n in range(20_000))),
    "json wrong images": (JSON, b'{"images": [%s1]}' % filled(b"1,", 39_000)),
    "json fewer numbers": (JSON, b'{"images": [%s1]}' % filled(b"1,", NEAR_LARGE)),
    "json less text": (JSON, b'{"image": "%s"}' % TEXT[:NEAR_LARGE]),
    "json params": (JSON, b'{"params": {"a": [%s1]}}' % filled(b"1,", 39_000)),
    "items": (JSON, b'{"type": "image", "items": [%s]}' % b",".join([ITEM] * 200)),
    "items of text": (JSON, b'{"type": "image", "items": [{"image_data": "%s"}]}' % TEXT),
    "items outside": (JSON, b'{"more": [%s1], "items": []}' % filled(b"1,")),
    "wrong items": (JSON, b'{"type": "image", "items": [%s]}' % filled(b"[],")),
    "lines": (LINES, filled(ITEM + b"\n", 200 * (len(ITEM) + 1))),
    "lines of text": (LINES, b'{"image_data": "%s"}\n' % (TEXT * 6)),
    "blank lines": (LINES, filled(b"\n", 2**24)),
    "line of numbers": (LINES, b"[%s1]" % filled(b"1,")),
    "form": (FORM, files(filled(b"x"))),
    "form of near boundaries": (FORM, files(filled(b"\r\n--"))),
    "form of line ends": (FORM, files(filled(b"\r\n"))),
    "form of parts": (FORM, filled(files(b"x")[:-7])),
    "form of headers": (FORM, b"--b\r\n" + filled(b"A: b\r\n")),
    "form of parameters": (FORM, part(b'name="file"; ' + filled(b'a="";', 4000), b"x")),
    "form of text": (FORM, part(b'name="params"', b"[%s1]" % filled(b"1,", 16_000))),
    "no form": (FORM, filled(b"-")),
    "image": (IMAGE, filled(b"\xff\xd8")),
}


@pytest.fixture
def held(monkeypatch):
    """Collects the callbacks of the event loop that took too much CPU time."""
    found, run = [], asyncio.Handle._run  # noqa: SLF001

    def timed(handle):
        started = time.thread_time()
        run(handle)
        if (took_s := time.thread_time() - started) > MOST_S:
            found.append(round(took_s, 3))

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    return found


@pytest.fixture
async def app(reach):
    """An application that has answered each kind of request before: first ones build much."""
    app = build_api(fake_services(gate=Gatekeeper(NamedTokens())), ApiOptions())
    client = reach(app)
    for method, path in requests(app):
        await client.request(method, path)
    gc.collect()
    gc.disable()  # its time is nobody's in particular
    yield app
    gc.enable()


async def pieces(body, size=PIECE):
    for at in range(0, len(body), size):
        yield body[at : at + size]


def requests(app):
    """Each way to send a body, to each path that takes one, with what it names filled in."""
    for rule in rules_of(app):
        names = {part.strip("{}").partition(":")[0] for part in rule.path.split("/") if "{" in part}
        path = rule.path.replace(":path", "").format(**{n: KNOWN.get(n, NOBODY) for n in names})
        if rule.method in {"POST", "DELETE"}:
            yield rule.method, path


async def stays_held(ask, held):
    """Whether a request holds the loop whenever it is sent: a machine that stutters does not."""
    for _ in range(TRIES):
        await asyncio.sleep(0)  # the callback that runs this test ends, and a new one begins
        held.clear()
        await ask()
        await asyncio.sleep(0)  # a request that suspends nowhere is known when its callback ends
        if not held:
            return False
    return True


@pytest.mark.parametrize("name", BODIES)
async def test_no_large_body_holds_the_event_loop(app, reach, held, name):
    kind, body = BODIES[name]
    client, slow = reach(app), []
    headers = {"authorization": "Bearer admin", "content-type": kind}

    for method, path in requests(app):
        url = f"{path}?type=image"
        if await stays_held(
            lambda m=method, u=url: client.request(m, u, content=pieces(body), headers=headers),
            held,
        ):
            slow.append((path, list(held)))

    assert slow == []


@pytest.mark.parametrize("kind", [JSON, LINES, FORM, IMAGE])
async def test_no_body_of_single_bytes_holds_the_event_loop(app, reach, held, kind):
    client, body, slow = reach(app), b"--b\r\n" + b" \n" * 1000, []
    headers = {"authorization": "Bearer admin", "content-type": kind}

    for method, path in requests(app):
        if await stays_held(
            lambda m=method, u=path: client.request(m, u, content=pieces(body, 1), headers=headers),
            held,
        ):
            slow.append((path, list(held)))

    assert slow == []
