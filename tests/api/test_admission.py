import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omma.api.admission import Admission
from omma.api.app import ApiOptions, UploadLimits, build_api
from omma.api.bodies import Pace
from omma.domain.errors import Overloaded, RateLimited, TooManyBytes
from omma.domain.faces import Lane
from omma.services.tokens import Gatekeeper
from tests.fakes import picture
from tests.service_fakes import NamedTokens, fake_services

DETECT, BATCH = "/api/v1/faces/detect", "/api/v1/faces/embed/batch"
LIMIT = 5
JSON, KINDS = "application/json", {DETECT: "image/jpeg"}  # of bodies


@pytest.fixture
def connect_named(reach):
    """Opens a client of an application that knows everybody by name; keywords are its options."""
    gate = Gatekeeper(NamedTokens())
    return lambda **options: reach(build_api(fake_services(gate=gate), ApiOptions(**options)))


@given(st.lists(st.lists(st.integers(1, 4), max_size=4), max_size=20))
def test_no_more_is_admitted_than_the_limit_and_all_is_given_back(requests):
    admission = Admission({Lane.INTERACTIVE: LIMIT, Lane.JOB: 1}, 1)

    with contextlib.ExitStack() as open_requests:
        for grows in requests:
            with contextlib.suppress(Overloaded):
                ticket = open_requests.enter_context(admission.admit(Lane.INTERACTIVE))
                for images in grows:
                    ticket.add(images)
            assert 0 <= admission.in_work(Lane.INTERACTIVE) <= LIMIT

    assert admission.in_work(Lane.INTERACTIVE) == 0


def test_lanes_do_not_take_each_others_places():
    admission = Admission({Lane.INTERACTIVE: 1, Lane.JOB: 1}, 1)

    with admission.admit(Lane.JOB), admission.admit(Lane.INTERACTIVE):
        assert admission.in_work(Lane.JOB) == 1


def test_the_refusal_says_how_full_it_is_and_when_to_come_back():
    admission = Admission({Lane.INTERACTIVE: 1}, 7)

    with (
        admission.admit(Lane.INTERACTIVE),
        pytest.raises(Overloaded, match="the limit is 1") as refusal,
        admission.admit(Lane.INTERACTIVE),
    ):
        pass

    assert refusal.value.retry_after_s == 7


def test_a_place_is_given_back_when_the_work_fails():
    admission = Admission({Lane.INTERACTIVE: 1}, 1)

    with contextlib.suppress(ZeroDivisionError), admission.admit(Lane.INTERACTIVE):
        raise ZeroDivisionError

    assert admission.in_work(Lane.INTERACTIVE) == 0


def test_bytes_are_counted_across_requests_and_given_back():
    admission = Admission({Lane.INTERACTIVE: 2}, 1, max_bytes=100)

    with admission.admit(Lane.INTERACTIVE) as first, admission.admit(Lane.INTERACTIVE) as second:
        first.hold(60)
        second.hold(40)
        with pytest.raises(Overloaded, match="100 bytes are in work"):
            second.hold(41)
        assert admission.bytes_in_work == 100

    assert admission.bytes_in_work == 0


def test_what_is_held_already_is_not_counted_again():
    admission = Admission({Lane.INTERACTIVE: 1}, 1, max_bytes=100)

    with admission.admit(Lane.INTERACTIVE) as ticket:
        ticket.hold(80)  # announced
        ticket.hold(10)  # the first chunk

        assert admission.bytes_in_work == 80


def test_what_could_never_fit_is_too_large_not_badly_timed():
    admission = Admission({Lane.INTERACTIVE: 1}, 1, max_bytes=100)

    with admission.admit(Lane.INTERACTIVE) as ticket, pytest.raises(TooManyBytes):
        ticket.hold(101)


def test_a_fetch_takes_no_place_from_the_images():
    admission = Admission({Lane.INTERACTIVE: 1}, 1)

    with admission.admit(Lane.INTERACTIVE) as ticket:
        with ticket.fetching():
            assert admission.in_work(Lane.INTERACTIVE) == 0
        assert admission.in_work(Lane.INTERACTIVE) == 1

    assert admission.in_work(Lane.INTERACTIVE) == 0


def test_a_fetch_that_comes_back_to_a_full_house_is_refused_and_leaves_nothing():
    admission = Admission({Lane.INTERACTIVE: 1}, 1, max_fetches=1)

    with contextlib.ExitStack() as house:
        with (
            pytest.raises(Overloaded, match="images are in work"),
            admission.admit(Lane.INTERACTIVE) as ticket,
            ticket.fetching(),
        ):
            house.enter_context(admission.admit(Lane.INTERACTIVE))
        assert admission.in_work(Lane.INTERACTIVE) == 1

    with admission.admit(Lane.INTERACTIVE) as ticket, ticket.fetching():
        pass  # the place among the fetches was given back


async def test_what_is_over_the_limit_is_503_with_retry_after(connect, detector):
    client = connect(max_interactive=2, retry_after_s=3)
    detector.gate = asyncio.Event()
    busy = [asyncio.create_task(client.post(DETECT, files={"file": picture()})) for _ in "ab"]
    await detector.arrived.acquire()
    await detector.arrived.acquire()

    refused = await client.post(DETECT, files={"file": picture()})
    detector.gate.set()
    answers = await asyncio.gather(*busy)
    after = await client.post(DETECT, files={"file": picture()})

    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "3"
    assert refused.json()["code"] == "overloaded"
    assert [answer.status_code for answer in (*answers, after)] == [200, 200, 200]


async def test_a_full_house_does_not_read_the_body(connect, detector):
    client = connect(max_interactive=1)
    detector.gate = asyncio.Event()
    busy = asyncio.create_task(client.post(DETECT, files={"file": picture()}))
    await detector.arrived.acquire()
    has_read = False

    async def body():
        nonlocal has_read
        has_read = True
        yield b"x"

    refused = await client.post(DETECT, content=body(), headers={"content-type": "image/png"})
    detector.gate.set()
    await busy

    assert refused.status_code == 503
    assert not has_read


async def test_a_batch_takes_a_place_an_image(connect, detector):
    client = connect(max_interactive=4)
    detector.gate = asyncio.Event()
    batch = [("file", picture())] * 3
    busy = asyncio.create_task(client.post(BATCH, files=batch))
    await detector.arrived.acquire()

    refused = await client.post(BATCH, files=batch)
    detector.gate.set()
    await busy
    after = await client.post(BATCH, files=batch)

    assert refused.status_code == 503
    assert after.status_code == 200


async def test_places_of_failed_requests_are_free_again(connect, detector):
    client = connect(max_interactive=1)
    form = {"content": b"truncated", "headers": {"content-type": "image/png"}}
    for _ in range(3):
        await client.post(DETECT, **form)
    detector.fault = RuntimeError("broken")
    await client.post(DETECT, **form)
    detector.fault = None

    answer = await client.post(DETECT, files={"file": picture()})

    assert answer.status_code == 200


async def test_slow_urls_do_not_keep_uploads_out(connect, urls):
    client = connect(max_interactive=1, max_fetches=1)
    urls.gate, urls.pages["http://slow/"] = asyncio.Event(), picture()
    slow = asyncio.create_task(client.post(DETECT, json={"url": "http://slow/"}))
    await urls.arrived.acquire()

    upload = await client.post(DETECT, files={"file": picture()})
    urls.gate.set()

    assert (upload.status_code, (await slow).status_code) == (200, 200)


async def test_one_fetch_too_many_is_503(connect, urls):
    client = connect(max_fetches=1)
    urls.gate, urls.pages["http://slow/"] = asyncio.Event(), picture()
    slow = asyncio.create_task(client.post(DETECT, json={"url": "http://slow/"}))
    await urls.arrived.acquire()

    refused = await client.post(DETECT, json={"url": "http://slow/"})
    urls.gate.set()
    await slow

    assert refused.status_code == 503
    assert refused.json()["detail"] == "1 URLs are being fetched, the limit is 1"


@pytest.mark.parametrize("content", ["sized", "chunked"])
async def test_bytes_over_the_limit_of_all_requests_are_503(connect, detector, content):
    client, image = connect(max_bytes_in_work=1000), picture().ljust(600)

    async def chunked():
        yield image

    detector.gate = asyncio.Event()
    jpeg = {"headers": {"content-type": "image/jpeg"}}
    busy = asyncio.create_task(client.post(DETECT, content=image, **jpeg))
    await detector.arrived.acquire()

    body = image if content == "sized" else chunked()
    refused = await client.post(DETECT, content=body, **jpeg)
    detector.gate.set()
    await busy
    small = await client.post(DETECT, content=picture(), **jpeg)

    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert small.status_code == 200


async def test_a_fetched_image_counts_among_the_bytes(connect, urls):
    urls.pages["http://here/"] = b"x" * 2000

    answer = await connect(max_bytes_in_work=1000).post(DETECT, json={"url": "http://here/"})

    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_bytes")


@pytest.mark.parametrize("path", [DETECT, BATCH])
async def test_an_idle_upload_is_408_and_gives_its_place_back(build, path):
    app, sent = build(uploads=UploadLimits(pace=Pace(grace_s=0.01, bytes_per_s=2**20))), []

    await app(_scope(path), asyncio.Event().wait, _into(sent))

    assert sent[0]["status"] == 408
    assert b'"upload_timeout"' in sent[1]["body"]
    assert app.state.context.admission.in_work(Lane.INTERACTIVE) == 0


async def test_an_upload_that_drips_is_408(build):
    app, sent = build(uploads=UploadLimits(pace=Pace(grace_s=0.01, bytes_per_s=2**20))), []

    async def drip():
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"x", "more_body": True}

    await app(_scope(DETECT), drip, _into(sent))

    assert sent[0]["status"] == 408


def test_an_upload_at_its_pace_is_never_late():
    pace, deadline = Pace(grace_s=3, bytes_per_s=10), 3.0

    for now in range(1, 100):
        deadline = pace.deadline(deadline, 10, now)
        assert deadline == now + 3


def test_an_upload_that_is_too_slow_is_late_in_the_end():
    pace, deadline, now = Pace(grace_s=3, bytes_per_s=10), 3.0, 0.0

    while now < deadline:
        now += 1
        deadline = pace.deadline(deadline, 9, now)

    assert now == pytest.approx(30)  # the grace is used up by a tenth each second


def test_an_upload_that_was_fast_saves_no_time_up():
    pace = Pace(grace_s=3, bytes_per_s=10)

    assert pace.deadline(3.0, 10_000_000, 1.0) == 4.0


@pytest.mark.parametrize("path", [DETECT, "/job/face_detection", "/api/v1/batch/submit"])
async def test_one_subject_has_a_share_of_the_places_for_uploads(connect_named, path):
    client = connect_named(max_interactive=4, max_jobs=4, upload_share=0.5)
    go_on = asyncio.Event()

    async def slow():
        yield b" "
        await go_on.wait()

    def upload(token):
        headers = {"authorization": f"Bearer {token}", "content-type": KINDS.get(path, JSON)}
        return asyncio.create_task(client.post(path, content=slow(), headers=headers))

    held = [upload("ann"), upload("ann")]
    refused = await upload("ann")
    held.append(upload("bob"))
    go_on.set()
    answers = await asyncio.gather(*held)

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert "2 uploads of one subject" in refused.text
    assert {answer.status_code for answer in answers} == {422}
    assert (await upload("ann")).status_code == 422  # the places are free again


async def test_without_tokens_there_is_no_share(connect):
    client, go_on = connect(max_interactive=2, upload_share=0.5), asyncio.Event()

    async def slow():
        yield b" "
        await go_on.wait()

    headers = {"content-type": "image/jpeg"}
    uploads = [client.post(DETECT, content=slow(), headers=headers) for _ in range(2)]
    tasks = [asyncio.create_task(upload) for upload in uploads]
    await asyncio.sleep(0)
    go_on.set()

    assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [422, 422]


def test_one_subject_has_a_share_of_the_bytes_and_a_single_upload_may_have_more():
    admission = Admission({Lane.INTERACTIVE: 9}, 1, max_bytes=100, upload_share=0.5)

    def open_upload(subject):
        ticket = house.enter_context(admission.admit(Lane.INTERACTIVE))
        house.enter_context(ticket.uploading(subject))
        return ticket

    with contextlib.ExitStack() as house:
        open_upload("ann").hold(60)
        with pytest.raises(RateLimited, match="50 bytes of one subject"):
            open_upload("ann").hold(1)
        open_upload("bob").hold(20)
        open_upload("bob").hold(20)

    with contextlib.ExitStack() as house:
        open_upload("ann").hold(100)  # what was held was given back


def _into(sent):
    async def send(message):
        sent.append(message)

    return send


def _scope(path):
    kind = b"multipart/form-data; boundary=b" if path == BATCH else b"image/jpeg"
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", kind)],
        "client": ("test", 1),
        "server": ("api", 80),
        "scheme": "http",
        "root_path": "",
        "http_version": "1.1",
    }
