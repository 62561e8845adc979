import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from omma.domain.jobs import Progress
from tests.job_fakes import MemoryJobs
from tests.streaming import (
    PATIENCE_S,
    QUICK,
    Site,
    best_median_ms,
    claim,
    complete,
    fail,
    progress,
    running,
    submit,
    until,
)

AN_ID = "0b0e2a6e-6d3f-4f7e-9b43-1f2d5f3a7c11"
WITH_TOKEN = {"authorization": "Bearer ada"}


@pytest.fixture
def jobs():
    return MemoryJobs()


@pytest.fixture
async def site(jobs):
    async with running(Site(jobs, cors_origins=("https://friend.test",))) as site:
        yield site


class Socket:
    """Speaks JSON, within a patience."""

    def __init__(self, connection):
        self.connection = connection

    async def next(self):
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self.connection.recv())

    async def next_of(self, kind):
        while (message := await self.next())["type"] != kind:
            pass
        return message

    async def say(self, what):
        await self.connection.send(what if isinstance(what, str) else json.dumps(what))

    async def ask(self, what, kind):
        await self.say(what)
        return await self.next_of(kind)

    async def closed(self):
        """The close code, whatever is said before."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as closed:
            return closed.rcvd.code


@asynccontextmanager
async def opened(site, headers=WITH_TOKEN, query="", **options):
    async with websockets.connect(
        site.ws + query, additional_headers=headers, proxy=None, **options
    ) as connection:
        yield Socket(connection)


@asynccontextmanager
async def watching(site, who="ada"):
    async with opened(site, {"authorization": f"Bearer {who}"}) as socket:
        await socket.next()
        yield socket


async def test_a_new_client_is_told_the_queue(site, jobs):
    await submit(jobs, "done", "running", "waiting")
    await complete(jobs, await claim(jobs))
    await progress(jobs, await claim(jobs), 1, 4)

    async with opened(site) as socket:
        told = await socket.next()

    at = jobs.now_ms
    assert told["type"] == "queue_status"
    data = told["data"]
    assert set(data) == {
        "active_jobs", "active_jobs_count", "recent_completed_jobs", "timestamp"
    }  # fmt: skip
    assert data["active_jobs_count"] == 2
    assert [(job["job_id"], job["status"]) for job in data["active_jobs"]] == [
        ("running", "processing"),
        ("waiting", "pending"),
    ]
    assert data["active_jobs"][0]["progress"] == {
        "current": 1, "total": 4, "progress_percentage": 25.0, "message": "detecting"
    }  # fmt: skip
    [recent] = data["recent_completed_jobs"]
    assert (recent["job_id"], recent["job_type"], recent["status"], recent["error"]) == (
        "done", "face_detection", "completed", None
    )  # fmt: skip
    assert datetime.fromisoformat(recent["created_at"]).timestamp() * 1000 == at


async def test_updates_tell_the_life_of_a_job(site, jobs):
    async with watching(site) as socket:
        await submit(jobs, "a")
        submitted = await socket.next_of("queue_update")
        hold = await claim(jobs)
        await progress(jobs, hold, 2, 3)
        made = await socket.next_of("queue_update")
        await complete(jobs, hold)
        completed = await socket.next_of("queue_update")

    assert set(submitted) == {"type", "event", "job_id", "data", "queue_status"}
    assert [each["event"] for each in (submitted, made, completed)] == [
        "job_submitted", "job_progress", "job_completed"
    ]  # fmt: skip
    assert {each["job_id"] for each in (submitted, made, completed)} == {"a"}
    assert made["data"] == {
        "current": 2, "total": 3, "progress_percentage": 66.7, "message": "detecting"
    }  # fmt: skip
    assert submitted["queue_status"]["active_jobs_count"] in {0, 1}


async def test_an_error_is_called_failed(site, jobs):
    async with watching(site) as socket:
        await submit(jobs, "a")
        await fail(jobs, await claim(jobs))
        while (update := await socket.next_of("queue_update"))["event"] != "job_failed":
            pass
        status = await socket.next_of("queue_status")

    assert update["data"]["state"] == "failed"
    assert update["data"]["failure"] == {"code": "invalid_input", "message": "no image"}
    [recent] = status["data"]["recent_completed_jobs"]
    assert (recent["status"], recent["error"]) == ("failed", "no image")


async def test_when_the_queue_has_come_to_rest_its_status_is_true(site, jobs):
    async with watching(site) as socket:
        await submit(jobs, "a", "b")

        status = await socket.next_of("queue_status")

    assert status["data"]["active_jobs_count"] == 2


async def test_a_status_that_is_kept_for_long_is_not_told_as_the_last(site, jobs):
    active = jobs.store.active

    async def slow(*given):
        found = await active(*given)
        await asyncio.sleep(0.08)  # kept for 1.6 s, longer than a rest
        return found

    jobs.store.active = slow
    async with watching(site) as socket:
        await submit(jobs, "a", "b")

        status = await socket.next_of("queue_status")

    assert status["data"]["active_jobs_count"] == 2


@pytest.mark.parametrize("ping", ["ping", {"type": "ping"}, {"type": "ping", "more": 1}, " ping\n"])
async def test_a_ping_is_answered(site, ping):
    async with watching(site) as socket:
        assert await socket.ask(ping, "pong") == {"type": "pong"}


@pytest.mark.parametrize("question", ["get_status", {"type": "get_status"}])
async def test_the_status_may_be_asked_for(site, question):
    async with watching(site) as socket:
        status = await socket.ask(question, "queue_status")

    assert status["data"]["active_jobs"] == []


async def test_a_job_is_cancelled(site, jobs):
    await submit(jobs, AN_ID)
    async with watching(site) as socket:
        answer = await socket.ask({"type": "cancel_job", "job_id": AN_ID}, "cancel_response")
        update = await socket.next_of("queue_update")

    assert answer == {
        "type": "cancel_response", "job_id": AN_ID, "success": True, "message": "Job cancelled"
    }  # fmt: skip
    assert (update["event"], update["data"]["state"]) == ("job_cancelled", "cancelled")


async def test_foreign_and_unknown_jobs_are_refused_alike(site, jobs):
    await submit(jobs, AN_ID, owner="bob")
    async with watching(site) as socket:
        answers = [
            await socket.ask({"type": "cancel_job", "job_id": job_id}, "cancel_response")
            for job_id in (AN_ID, str(uuid4()), "nobody's", "", "\x00")
        ]

    assert [(each["success"], each["message"]) for each in answers] == 5 * [
        (False, "Job not found")
    ]
    assert (await jobs.store.get(AN_ID)).state == "pending"


async def test_a_job_that_has_ended_cannot_be_cancelled(site, jobs):
    await submit(jobs, AN_ID)
    await complete(jobs, await claim(jobs))
    async with watching(site) as socket:
        answer = await socket.ask({"type": "cancel_job", "job_id": AN_ID}, "cancel_response")

    assert not answer["success"]
    assert "ended" in answer["message"]


async def test_everybody_sees_what_is_their_own(site, jobs):
    async with watching(site, "bob") as bobs, watching(site, "admin") as all_:
        await submit(jobs, "hers", owner="ada")
        await submit(jobs, "his", owner="bob")

        assert (await bobs.next_of("queue_update"))["job_id"] == "his"
        assert (await all_.next_of("queue_update"))["job_id"] == "hers"
        status = await bobs.ask("get_status", "queue_status")

    assert {job["job_id"] for job in status["data"]["active_jobs"]} <= {"his"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 4401),
        ({"authorization": "Bearer expired"}, 4401),
        ({"authorization": "Bearer garbage"}, 4401),
        ({"authorization": "Bearer nobody"}, 4403),
    ],
)
async def test_without_the_right_token_it_is_closed(site, headers, code):
    async with opened(site, headers) as socket:
        assert await socket.closed() == code


async def test_the_token_may_come_in_the_query(site):
    async with opened(site, {}, "?access_token=ada") as socket:
        assert (await socket.next())["type"] == "queue_status"


async def test_the_socket_ends_with_its_token(site):
    site.verifier.expires_at = datetime.now(UTC) + timedelta(seconds=0.3)

    async with opened(site) as socket:
        assert await socket.closed() == 4401


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://127.0.0.1:1"])
async def test_the_pages_of_strangers_open_no_socket(site, origin):
    with pytest.raises(InvalidStatus, match="403"):
        async with opened(site, origin=origin):
            pass


async def test_our_own_pages_and_those_of_friends_do(site):
    for origin in ("https://friend.test", site.url):
        async with opened(site, origin=origin) as socket:
            assert (await socket.next())["type"] == "queue_status"


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "hello",
        "{",
        "[]",
        "null",
        "1",
        '{"type": "dance"}',
        '{"type": 1}',
        '{"job_id": "a"}',
        '{"type": "cancel_job", "job_id": 7}',
        "[" * 5000,
        "\x00",
        '{"type":"ping"',
        "💥" * 100,
    ],
)
async def test_garbage_is_answered(site, garbage):
    async with watching(site) as socket:
        answer = await socket.ask(garbage, "error")
        assert "cancel_job" in answer["message"]
        assert await socket.ask("ping", "pong")


async def test_a_huge_message_ends_it(site):
    async with watching(site) as socket:
        await socket.say("x" * (64 * 1024 + 1))

        assert await socket.closed() == 1009


async def test_bytes_end_it(site):
    async with watching(site) as socket:
        await socket.connection.send(b"ping")

        assert await socket.closed() == 1003


async def test_sockets_count_among_the_streams(jobs):
    few = replace(QUICK, max_streams=1)
    async with running(Site(jobs, few)) as site, watching(site), opened(site) as refused:
        assert await refused.closed() == 1013


async def test_who_leaves_gives_its_place_back(site):
    async with watching(site):
        assert site.feed.streams == 1

    await until(lambda: site.feed.streams == 0)


async def test_without_the_database_it_is_closed_for_later(site, jobs):
    jobs.is_down = True

    async with opened(site) as socket:
        assert await socket.closed() == 1013


async def test_an_open_socket_outlasts_an_absent_database(site, jobs):
    async with watching(site) as socket:
        jobs.is_down = True
        answer = await socket.ask({"type": "cancel_job", "job_id": "a"}, "cancel_response")
        assert await socket.ask("get_status", "queue_status")
        jobs.is_down = False
        await submit(jobs, "a")

        assert (await socket.next_of("queue_update"))["job_id"] == "a"
    assert not answer["success"]


async def test_a_stop_of_the_feed_closes_every_socket(site):
    async with watching(site) as one, watching(site) as other:
        await site.feed.stop()

        assert [await one.closed(), await other.closed()] == [1001, 1001]


async def test_many_watchers_cost_the_database_no_more_than_one(site, jobs):
    looks = 0
    active = jobs.store.active

    async def counted(*given):
        nonlocal looks
        looks += 1
        return await active(*given)

    jobs.store.active = counted
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(watching(site)) for _ in range(10)]
        for n in range(20):
            await submit(jobs, f"job {n}")
        for socket in sockets:
            for _ in range(20):
                await socket.next_of("queue_update")
    took_s = time.monotonic() - began

    assert looks <= 4 + took_s  # one status is good for a second


async def test_a_client_that_stops_reading_costs_nobody_anything(jobs):
    options = replace(QUICK, send_timeout_s=5)
    async with running(Site(jobs, options)) as site, watching(site) as lively:
        silent = await websockets.connect(
            site.ws, additional_headers=WITH_TOKEN, max_queue=1, compression=None, proxy=None
        )
        await until(lambda: site.feed.streams == 2)

        await submit(jobs, "a")
        hold = await claim(jobs)
        for n in range(3000):
            await jobs.queue.report([(hold, Progress(n, 3000, "x" * 3000))])
        for _ in range(3001):
            await lively.next_of("queue_update")

        await until(lambda: site.feed.streams == 1)
        silent.transport.abort()


async def test_a_hundred_open_sockets_leave_other_routes_as_they_were(jobs):
    options = replace(QUICK, max_streams=100, keep_alive_s=15, poll_interval_s=0.1)
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(running(Site(jobs, options)))
        client = await stack.enter_async_context(site.client())
        alone_ms = await best_median_ms(client)
        sockets = [await stack.enter_async_context(watching(site)) for _ in range(100)]

        with_sockets_ms = await best_median_ms(client)
        await submit(jobs, "a")
        updates = await asyncio.gather(*(each.next_of("queue_update") for each in sockets))

        assert {each["job_id"] for each in updates} == {"a"}
        assert with_sockets_ms < 3 * alone_ms + 5
