import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field

import pytest

from omma.domain.errors import (
    MediaNotFound,
    MediaStoreUnreachable,
    StoreUnavailable,
    UrlRefused,
    UrlTimeout,
    UrlUnreachable,
)
from omma.domain.jobs import Completed, Failed, Failure, JobState, Submission
from omma.ports.deliveries import DeliveryKind
from omma.services.deliveries import (
    LEASE_S,
    MOST_S,
    CallbackOptions,
    Deliverer,
    Senders,
    signature,
)
from omma.services.posts import OF_ORIGIN, OF_OWNER, STEP
from tests.drill.verdict import eventually
from tests.job_fakes import MemoryJobs
from tests.logged import messages
from tests.pages import blocks

NOW_S = 1_700_000_000
THEIRS, OURS = "https://client.example/done", "http://10.0.0.5/done"


@dataclass
class FakePoster:
    posts: list = field(default_factory=list)  # (url, body, headers)
    error: Exception | None = None
    gate: asyncio.Event | None = None  # holds every post until it is set
    held: str = ""  # if not empty, only posts to URLs that have this in them
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def post(self, url, body, headers):
        self.posts.append((url, body, dict(headers)))
        self.arrived.release()
        if self.gate and self.held in url:
            await self.gate.wait()
        if self.error:
            raise self.error

    def hold(self, part=""):
        self.gate, self.held = asyncio.Event(), part

    def urls(self, part):
        return [url for url, _, _ in self.posts if part in url]


@dataclass
class FakeMediaStore:
    results: list = field(default_factory=list)
    error: Exception | None = None

    async def post_result(self, media_store_id, result):
        self.results.append((media_store_id, result))
        if self.error:
            raise self.error


@dataclass
class World:
    jobs: MemoryJobs = field(default_factory=MemoryJobs)
    guarded: FakePoster = field(default_factory=FakePoster)
    plain: FakePoster = field(default_factory=FakePoster)
    media_store: FakeMediaStore = field(default_factory=FakeMediaStore)

    def deliverer(self, kind=DeliveryKind.CALLBACK, **options):
        senders = Senders(self.guarded, self.plain, self.media_store)
        options = CallbackOptions(**{"secret": "s3cret", **options})
        return Deliverer(
            self.jobs.deliveries, senders, options, kind, clock=lambda: NOW_S + 0.9, poll_s=0.01
        )

    async def end_all(self, submissions):
        await self.jobs.store.submit(submissions, quota=1000)
        claims = await self.jobs.queue.claim("runner", ["work"], limit=1000, lease_s=30)
        await self.jobs.queue.settle([Completed(claim.hold, {}) for claim in claims])

    async def end(self, outcome="completed", **asked):
        """A job that ends as said."""
        await self.jobs.store.submit([Submission("job", "work", (), "me", **asked)], quota=10)
        [claim] = await self.jobs.queue.claim("runner", ["work"], limit=1, lease_s=30)
        if outcome == "completed":
            await self.jobs.queue.settle([Completed(claim.hold, {"faces": []})])
        else:
            failure = Failure("undecodable_image", "not an image")
            await self.jobs.queue.settle([Failed(claim.hold, failure, None)])

    def row(self, kind=DeliveryKind.CALLBACK):
        return self.jobs.to_deliver[kind, "job"]

    def wait_s(self, kind=DeliveryKind.CALLBACK):
        return (self.row(kind).due_at - self.jobs.now_ms) / 1000


@pytest.fixture
def world():
    return World()


async def test_a_callback_says_how_the_job_ended(world):
    await world.end(callback_url=THEIRS)

    assert await world.deliverer().run_once() == 1

    [(url, body, headers)] = world.guarded.posts
    told = json.loads(body)
    assert url == THEIRS
    assert {key: told[key] for key in ("job_id", "status", "result", "error")} == {
        "job_id": "job",
        "status": "completed",
        "result": {"faces": []},
        "error": None,
    }
    assert headers["Content-Type"] == "application/json"
    assert (world.row().status, world.row().due_at) == ("completed", None)


async def test_a_failure_is_told_with_its_reason(world):
    await world.end("failed", callback_url=THEIRS)

    await world.deliverer().run_once()

    told = json.loads(world.guarded.posts[0][1])
    assert (told["status"], told["result"], told["state"]) == ("failed", None, "error")
    assert (told["error"], told["error_code"]) == ("not an image", "undecodable_image")


async def test_a_callback_is_signed_over_time_and_body(world):
    await world.end(callback_url=THEIRS)

    await world.deliverer().run_once()

    [(_, body, headers)] = world.guarded.posts
    signed = f"{NOW_S}.".encode() + body
    expected = hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
    assert headers["X-Omma-Timestamp"] == str(NOW_S)
    assert headers["X-Omma-Signature"] == f"sha256={expected}"


async def test_the_secret_is_shown_to_the_operators_own_url_alone(world):
    await world.end(callback_url=THEIRS)
    await world.deliverer(url=OURS).run_once()
    world.jobs = MemoryJobs(default_callback=True)
    await world.end()
    await world.deliverer(url=OURS).run_once()

    [(_, _, theirs)], [(url, _, ours)] = world.guarded.posts, world.plain.posts
    assert "s3cret" not in str(theirs)
    assert (url, ours["Authorization"]) == (OURS, "Bearer s3cret")
    assert ours["X-Omma-Signature"].startswith("sha256=")


async def test_a_client_that_names_the_operators_url_is_guarded_all_the_same(world):
    await world.end(callback_url=OURS)

    await world.deliverer(url=OURS).run_once()

    assert not world.plain.posts
    assert "Authorization" not in world.guarded.posts[0][2]


async def test_without_a_secret_nothing_is_signed(world):
    world.jobs.default_callback = True
    await world.end()

    await world.deliverer(url=OURS, secret="").run_once()

    headers = world.plain.posts[0][2]
    assert {"Authorization", "X-Omma-Signature"}.isdisjoint(headers)


async def test_a_callback_that_fails_comes_again_later_as_the_same_delivery(world):
    world.guarded.error = UrlTimeout("expected an answer within 10 s")
    await world.end(callback_url=THEIRS)
    deliverer = world.deliverer()

    await deliverer.run_once()
    assert world.row().error == "expected an answer within 10 s"
    assert await deliverer.run_once() == 0
    world.jobs.advance(world.wait_s())
    world.guarded.error = None
    await deliverer.run_once()

    first, second = [headers["X-Omma-Delivery"] for _, _, headers in world.guarded.posts]
    assert first == second
    assert world.row().status == "completed"


async def test_a_fault_nobody_foresaw_is_a_failed_try_of_its_own_delivery_alone(world, caplog):
    world.guarded.error = ValueError("secret of ours")
    world.jobs.default_callback = True
    submissions = [
        Submission("theirs", "work", (), "me", callback_url=THEIRS),
        Submission("ours", "work", (), "me"),
    ]
    await world.jobs.store.submit(submissions, quota=10)
    claims = await world.jobs.queue.claim("runner", ["work"], limit=2, lease_s=30)
    await world.jobs.queue.settle([Completed(claim.hold, {}) for claim in claims])
    deliverer = world.deliverer(url=OURS)

    sent = await deliverer.run_once()

    due = world.jobs.to_deliver
    theirs, ours = (due[DeliveryKind.CALLBACK, name] for name in ("theirs", "ours"))
    assert sent == 2
    assert (ours.status, ours.due_at, len(world.plain.posts)) == ("completed", None, 1)
    assert (theirs.status, theirs.tries, theirs.due_at > world.jobs.now_ms) == ("pending", 1, True)
    assert "secret" not in theirs.error
    assert messages(caplog, "omma.services.deliveries") == [
        "a delivery failed in an unforeseen way"
    ]


async def test_a_job_that_ends_anew_is_another_delivery(world):
    await world.end("failed", callback_url=THEIRS)
    await world.deliverer().run_once()
    await world.jobs.control.retry("job")
    [claim] = await world.jobs.queue.claim("runner", ["work"], limit=1, lease_s=30)
    await world.jobs.queue.settle([Completed(claim.hold, {})])
    await world.deliverer().run_once()

    first, second = [headers["X-Omma-Delivery"] for _, _, headers in world.guarded.posts]
    assert first != second


async def test_waits_double_and_tries_end(world):
    world.guarded.error = UrlUnreachable("expected a success, got status 500")
    await world.end(callback_url=THEIRS)
    deliverer, waits = world.deliverer(max_tries=12), []

    while await deliverer.run_once() and world.row().due_at:
        waits.append(world.wait_s())
        world.jobs.advance(waits[-1])

    longest = [min(10 * 2**n, MOST_S[DeliveryKind.CALLBACK]) for n in range(11)]
    assert [most / 2 <= wait <= most for wait, most in zip(waits, longest, strict=True)] == [
        True
    ] * 11
    assert len(world.guarded.posts) == 12
    assert world.row().status == "failed"
    assert (await world.jobs.store.get("job")).state is JobState.COMPLETED


async def test_a_url_that_is_refused_is_not_tried_again(world, caplog):
    world.guarded.error = UrlRefused("'here' is not on a public address")
    await world.end(callback_url=THEIRS)

    await world.deliverer().run_once()

    assert world.row().status == "failed"
    assert messages(caplog, "omma.services.deliveries") == ["gave up a delivery"]
    assert THEIRS not in caplog.text


async def test_the_media_store_is_told_the_result(world):
    world.jobs.media_store = True
    await world.end(media_store_id="42")

    await world.deliverer(DeliveryKind.MEDIA_STORE).run_once()

    assert world.media_store.results == [("42", {"faces": []})]
    assert world.row(DeliveryKind.MEDIA_STORE).status == "completed"


async def test_a_media_store_that_stays_away_makes_the_job_sync_failed_until_it_is_retried(world):
    world.jobs.media_store = True
    world.media_store.error = MediaStoreUnreachable("the media store answered with status 500")
    await world.end(media_store_id="42")
    deliverer = world.deliverer(DeliveryKind.MEDIA_STORE, media_store_tries=3)

    for _ in range(3):
        assert await deliverer.run_once() == 1
        if world.row(DeliveryKind.MEDIA_STORE).due_at:
            world.jobs.advance(world.wait_s(DeliveryKind.MEDIA_STORE))
    assert (await world.jobs.store.get("job")).state is JobState.SYNC_FAILED
    assert world.row(DeliveryKind.MEDIA_STORE).error == "the media store answered with status 500"

    world.media_store.error = None
    await world.jobs.control.retry("job")
    await deliverer.run_once()
    assert (await world.jobs.store.get("job")).state is JobState.COMPLETED
    assert len(world.media_store.results) == 4


async def test_an_id_that_the_media_store_cannot_have_is_given_up(world):
    world.jobs.media_store = True
    world.media_store.error = MediaNotFound("no media can have the id '..'")
    await world.end(media_store_id="..")

    await world.deliverer(DeliveryKind.MEDIA_STORE).run_once()

    assert (await world.jobs.store.get("job")).state is JobState.SYNC_FAILED


async def test_a_deliverer_that_dies_leaves_its_work_to_the_next(world):
    world.guarded.gate = asyncio.Event()
    await world.end(callback_url=THEIRS)
    dying = asyncio.create_task(world.deliverer().run_once())
    await world.guarded.arrived.acquire()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    world.guarded.gate = None

    assert await world.deliverer().run_once() == 0
    world.jobs.advance(LEASE_S + 1)
    assert await world.deliverer().run_once() == 1
    assert world.row().status == "completed"


async def test_a_post_that_never_ends_is_ended(world, monkeypatch):
    monkeypatch.setattr("omma.services.deliveries.LONGEST_S", 0.01)
    world.guarded.gate = asyncio.Event()
    await world.end(callback_url=THEIRS)

    assert await world.deliverer().run_once() == 1

    assert world.row().error == "no answer within 0.01 s"
    assert world.row().due_at


async def test_a_job_that_was_retried_meanwhile_is_not_told_as_ended(world):
    await world.end("failed", callback_url=THEIRS)
    row = world.row()
    await world.jobs.control.retry("job")
    world.jobs.to_deliver[DeliveryKind.CALLBACK, "job"] = row

    await world.deliverer().run_once()

    assert not world.guarded.posts
    assert world.row().due_at


async def test_records_that_are_away_are_told_to_the_caller(world):
    world.jobs.is_down = True

    with pytest.raises(StoreUnavailable):
        await world.deliverer().run_once()


def documented_check(monkeypatch):
    """The receiver's check as the reference prints it."""
    [[program, _]] = [each.values for each in blocks("python") if "X-Omma" in each.values[0]]
    names = {}
    exec(compile(program, "<docs>", "exec"), names)  # noqa: S102  our own page
    monkeypatch.setattr(time, "time", lambda: NOW_S + 100)
    return names["is_genuine"]


async def test_the_documented_check_accepts_what_we_send_and_nothing_else(world, monkeypatch):
    is_genuine = documented_check(monkeypatch)
    await world.end(callback_url=THEIRS)
    await world.deliverer().run_once()
    [(_, body, headers)] = world.guarded.posts

    assert is_genuine("s3cret", headers, body)
    assert not is_genuine("another", headers, body)
    assert not is_genuine("s3cret", headers, body.replace(b"completed", b"failed"))
    assert not is_genuine("s3cret", headers | {"X-Omma-Timestamp": str(NOW_S + 1)}, body)
    assert not is_genuine("s3cret", headers | {"X-Omma-Signature": "ü"}, body)
    assert not is_genuine("s3cret", {}, body)


async def test_the_documented_check_refuses_what_is_old(monkeypatch):
    is_genuine = documented_check(monkeypatch)
    body, then = b"{}", str(NOW_S - 300)
    headers = {"X-Omma-Timestamp": then, "X-Omma-Signature": signature("s3cret", then, body)}

    assert not is_genuine("s3cret", headers, body)


def job(number, url, owner="me"):
    return Submission(f"{owner}-{number}", "work", (), owner, callback_url=url)


@pytest.fixture
async def running():
    """A deliverer at work until the test is over."""
    tasks = []

    def start(*deliverers):
        tasks.extend(asyncio.create_task(each.run_once()) for each in deliverers)

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def sent(poster, part, count=1):
    async with asyncio.timeout(30):
        while len(poster.urls(part)) < count:
            await poster.arrived.acquire()


async def test_what_becomes_due_while_a_host_hangs_is_sent_and_recorded_meanwhile(world, running):
    world.guarded.hold("hangs")
    await world.end_all([job(0, "http://hangs.example/")])
    running(world.deliverer())
    await sent(world.guarded, "hangs")

    await world.end_all([job(1, "http://well.example/")])
    await sent(world.guarded, "well")

    row = world.jobs.to_deliver[DeliveryKind.CALLBACK, "me-1"]

    async def is_recorded():
        return row.status == "completed"

    await eventually(is_recorded)
    assert not world.guarded.gate.is_set()


async def test_behind_130_that_hang_of_one_owner_another_owners_is_sent_at_once(world, running):
    world.guarded.hold("hangs")
    hanging = [job(n, f"http://hangs{n}.example/") for n in range(130)]
    await world.end_all(hanging)
    running(world.deliverer())
    await sent(world.guarded, "hangs", OF_OWNER)

    await world.end_all([job(0, "http://well.example/", owner="other")])
    await sent(world.guarded, "well")

    assert len(world.guarded.urls("hangs")) == OF_OWNER


async def test_a_host_that_hangs_takes_few_of_its_owners_places(world, running):
    world.guarded.hold("hangs")
    hanging = [job(n, f"http://hangs.example/{n}") for n in range(30)]
    await world.end_all([*hanging, *(job(n, "http://well.example/") for n in range(30, 60))])
    running(world.deliverer())

    await sent(world.guarded, "well", 30)

    assert len(world.guarded.urls("hangs")) == OF_ORIGIN


async def test_owners_take_turns_whoever_asked_first(world):
    await world.end_all([job(n, f"http://first{n}.example/") for n in range(100)])
    await world.end_all([job(n, "http://second.example/", owner="other") for n in range(2)])

    assert await world.deliverer().run_once() == 102

    places = [n for n, (url, _, _) in enumerate(world.guarded.posts) if "second" in url]
    assert max(places) < STEP


async def test_callbacks_that_hang_hold_up_no_post_to_the_media_store(world, running):
    world.jobs.media_store = True
    world.guarded.hold()
    await world.end(callback_url=THEIRS, media_store_id="42")
    running(world.deliverer())
    await world.guarded.arrived.acquire()

    assert await world.deliverer(DeliveryKind.MEDIA_STORE).run_once() == 1

    assert world.media_store.results == [("42", {"faces": []})]


async def test_an_outcome_that_the_records_did_not_take_is_recorded_later_without_a_post(world):
    world.guarded.hold()
    await world.end(callback_url=THEIRS)
    deliverer = world.deliverer()
    turn = asyncio.create_task(deliverer.run_once())
    await world.guarded.arrived.acquire()
    world.jobs.is_down = True
    with pytest.raises(StoreUnavailable):
        await turn

    world.guarded.gate.set()
    world.jobs.is_down = False
    await deliverer.run_once()

    assert (world.row().status, len(world.guarded.posts)) == ("completed", 1)
