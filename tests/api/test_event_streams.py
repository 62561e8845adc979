import asyncio
import json
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.job_fakes import MemoryJobs
from tests.streaming import (
    FLOOD,
    PATIENCE_S,
    QUICK,
    Site,
    best_median_ms,
    claim,
    complete,
    fail,
    flood,
    progress,
    running,
    submit,
    until,
)

AN_ID = "0b0e2a6e-6d3f-4f7e-9b43-1f2d5f3a7c11"


@pytest.fixture
def jobs():
    return MemoryJobs()


@pytest.fixture
async def site(jobs):
    async with running(Site(jobs)) as site:
        yield site


@dataclass
class Told:
    """One event as the stream wrote it."""

    id: int
    event: str
    data: dict

    @property
    def job_id(self):
        return self.data["job_id"]


class Stream:
    """Reads one answer line by line, as browsers do."""

    def __init__(self, answer):
        self.answer = answer
        self.lines = answer.aiter_lines()
        self.comments = []

    async def next(self):
        fields = {}
        async with asyncio.timeout(PATIENCE_S):
            async for line in self.lines:
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments.append(line)
                elif line:
                    fields[name] = value
                elif "data" in fields:
                    return Told(int(fields["id"]), fields["event"], json.loads(fields["data"]))
        return None

    async def take(self, count):
        return [await self.next() for _ in range(count)]

    async def rest(self):
        told = []
        while event := await self.next():
            told.append(event)
        return told


@asynccontextmanager
async def reading(site, path="/events", who="ada", last=None, **params):
    headers = {} if last is None else {"last-event-id": str(last)}
    async with (
        site.client(who) as client,
        client.stream("GET", path, headers=headers, params=params) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        yield Stream(answer)


async def answer_of(site, path, who="ada", **headers):
    async with site.client(who) as client:
        return await client.get(path, headers=headers)


async def test_a_stream_tells_what_happens(site, jobs):
    async with reading(site) as stream:
        await submit(jobs, "a")
        hold = await claim(jobs)
        await progress(jobs, hold, 1, 2)
        await complete(jobs, hold)

        told = await stream.take(4)

    assert [each.id for each in told] == [1, 2, 3, 4]
    assert [each.event for each in told] == [
        "job_submitted", "job_started", "job_progress", "job_completed"
    ]  # fmt: skip
    assert told[2].data == {
        "event": "job_progress",
        "data": {
            "operation": "face_detection",
            "state": "processing",
            "attempt": 1,
            "progress": {"current": 1, "total": 2, "message": "detecting"},
        },
        "job_id": "a",
        "timestamp": jobs.now_ms,
    }


async def test_the_headers_keep_proxies_from_holding_it_back(site):
    async with reading(site) as stream:
        headers = stream.answer.headers

        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "no-cache" in headers["cache-control"]
        assert headers["x-accel-buffering"] == "no"
        assert "content-length" not in headers
        assert await anext(stream.lines) == "retry: 2000"


async def test_silence_is_kept_alive_by_comments(site, jobs):
    async with reading(site) as stream:
        await asyncio.sleep(4 * QUICK.keep_alive_s)
        await submit(jobs, "a")
        await stream.next()

    assert set(stream.comments) == {": keep-alive"}


async def test_everybody_sees_what_is_their_own_and_administrators_all(site, jobs):
    async with reading(site, who="bob") as bobs, reading(site, who="admin") as all_:
        await submit(jobs, "hers", owner="ada")
        await submit(jobs, "his", owner="bob")

        assert (await bobs.next()).job_id == "his"
        assert [each.job_id for each in await all_.take(2)] == ["hers", "his"]


async def test_a_stream_may_be_of_some_kinds_or_of_one_job(site, jobs):
    async with (
        reading(site, kind="job_completed,job_failed") as ends,
        reading(site, job_id=AN_ID) as one,
    ):
        await submit(jobs, "a", AN_ID)
        await complete(jobs, await claim(jobs))
        await fail(jobs, await claim(jobs))

        assert [(e.event, e.job_id) for e in await ends.take(2)] == [
            ("job_completed", "a"),
            ("job_failed", AN_ID),
        ]
        assert [e.event for e in await one.take(3)] == [
            "job_submitted", "job_started", "job_failed"
        ]  # fmt: skip


async def test_a_client_that_comes_back_has_missed_nothing(site, jobs):
    async with reading(site) as stream:
        await submit(jobs, "a", "b")
        last = (await stream.take(2))[-1].id
    await submit(jobs, "c")

    async with reading(site, last=last) as by_header, reading(site, last_event_id=0) as by_query:
        await submit(jobs, "d")

        assert [each.job_id for each in await by_header.take(2)] == ["c", "d"]
        assert [each.job_id for each in await by_query.take(4)] == ["a", "b", "c", "d"]


async def test_the_header_goes_before_the_query(site, jobs):
    await submit(jobs, "a", "b")

    async with reading(site, last=1, last_event_id=0) as stream:
        assert (await stream.next()).job_id == "b"


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "99", "9" * 5000, "\N{ARABIC-INDIC DIGIT ONE}"])
@pytest.mark.parametrize("path", ["/events", f"/job/{AN_ID}/events"])
async def test_what_is_no_events_id_is_refused(site, jobs, path, last):
    await submit(jobs, AN_ID)

    answer = await answer_of(site, path, **{"last-event-id": last.encode()})

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_input"


async def test_an_id_of_long_ago_begins_with_the_oldest_there_is(jobs):
    await submit(jobs, "old")
    jobs.advance(100)
    await submit(jobs, "new")
    await jobs.log.prune(older_than_s=50, limit=10)

    async with running(Site(jobs)) as fresh, reading(fresh, last=0) as stream:
        assert (await stream.next()).job_id == "new"


async def test_a_jobs_stream_ends_with_the_job_and_needs_no_token(site, jobs):
    await submit(jobs, AN_ID, "b")
    async with reading(site, f"/job/{AN_ID}/events", who=None) as stream:
        first = await stream.next()
        await complete(jobs, await claim(jobs))

        rest = await stream.rest()

    assert [each.event for each in [first, *rest]] == [
        "job_submitted", "job_started", "job_completed"
    ]  # fmt: skip
    await until(lambda: site.feed.streams == 0)


async def test_the_stream_of_an_ended_job_tells_all_and_ends(site, jobs):
    await submit(jobs, AN_ID)
    await fail(jobs, await claim(jobs))

    async with reading(site, f"/job/{AN_ID}/events") as stream:
        told = await stream.rest()

    assert [each.event for each in told] == ["job_submitted", "job_started", "job_failed"]


async def test_a_browser_that_has_heard_the_end_is_told_to_stop_asking(site, jobs):
    await submit(jobs, AN_ID)
    await complete(jobs, await claim(jobs))

    answer = await answer_of(site, f"/job/{AN_ID}/events", **{"last-event-id": "3"})

    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("job_id", [AN_ID, "nobody", "%00", "a" * 300])
async def test_an_unknown_job_has_no_stream(site, job_id):
    answer = await answer_of(site, f"/job/{job_id}/events")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "job_not_found"


@pytest.mark.parametrize(
    ("who", "status"), [(None, 401), ("expired", 401), ("garbage", 401), ("nobody", 403)]
)
async def test_the_stream_of_all_needs_a_token_and_its_permission(site, who, status):
    assert (await answer_of(site, "/events", who)).status_code == status


async def test_the_token_may_come_in_the_query(site, jobs):
    query = {"access_token": "ada"}

    async with reading(site, who=None, **query) as stream:
        await submit(jobs, "a")

        assert (await stream.next()).job_id == "a"


async def test_a_stream_ends_with_its_token(site):
    site.verifier.expires_at = datetime.now(UTC) + timedelta(seconds=0.3)

    async with reading(site) as stream:
        assert await stream.rest() == []


async def test_unknown_kinds_are_refused(site):
    assert (await answer_of(site, "/events?kind=job_eaten")).status_code == 422


async def test_without_the_database_no_stream_begins(site, jobs):
    jobs.is_down = True

    answer = await answer_of(site, f"/job/{AN_ID}/events")

    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_open_streams_outlast_an_absent_database(site, jobs):
    async with reading(site) as stream:
        jobs.is_down = True
        await asyncio.sleep(0.1)
        jobs.is_down = False
        await submit(jobs, "a")

        assert (await stream.next()).job_id == "a"


async def test_there_are_so_many_streams_and_then_503(site, jobs):
    async with AsyncExitStack() as stack:
        for _ in range(QUICK.max_streams):
            await stack.enter_async_context(reading(site))

        answer = await answer_of(site, "/events")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["code"] == "overloaded"
    await until(lambda: site.feed.streams == 0)
    async with reading(site) as stream:
        await submit(jobs, "a")
        await stream.next()


async def test_one_subject_has_so_many_streams_and_then_429(jobs):
    few = replace(QUICK, max_streams_per_subject=1)
    async with running(Site(jobs, few)) as site, reading(site):
        answer = await answer_of(site, "/events")

        async with reading(site, who="bob"):
            pass

    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["retry-after"] == "5"


async def test_streams_without_a_token_leave_places_to_those_with_one(site, jobs):
    await submit(jobs, AN_ID)
    path = f"/job/{AN_ID}/events"
    async with AsyncExitStack() as stack:
        for _ in range(QUICK.max_streams // 4):
            await stack.enter_async_context(reading(site, path, who=""))

        answer = await answer_of(site, path, who="")

        async with reading(site):
            pass

    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")


async def test_a_stop_of_the_feed_ends_every_stream_at_once(site):
    async with reading(site) as one, reading(site) as other:
        await site.feed.stop()

        assert [await one.rest(), await other.rest()] == [[], []]
        assert (await answer_of(site, "/events")).status_code == 503


async def test_two_replicas_tell_the_same(site, jobs):
    async with (
        running(Site(jobs)) as other,
        reading(site) as here,
        reading(other) as there,
    ):
        await submit(jobs, *(f"job {n}" for n in range(100)))

        assert await here.take(100) == await there.take(100)


async def test_a_client_goes_on_at_another_replica(site, jobs):
    async with running(Site(jobs)) as other:
        async with reading(site) as stream:
            await submit(jobs, *(f"job {n}" for n in range(10)))
            last = (await stream.take(5))[-1].id

        async with reading(other, last=last) as stream:
            assert [each.id for each in await stream.take(5)] == [6, 7, 8, 9, 10]


async def silent_client(site):
    """Asks for all events and never reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", site.port))
    sock.sendall(b"GET /events HTTP/1.1\r\nhost: here\r\nauthorization: Bearer ada\r\n\r\n")
    return sock


async def test_a_client_that_stops_reading_costs_nobody_anything(jobs):
    options = replace(QUICK, send_timeout_s=5, capacity=1000)
    async with running(Site(jobs, options)) as site, reading(site) as lively:
        silent = [await silent_client(site) for _ in range(5)]
        await until(lambda: site.feed.streams == 6)

        heard, _ = await asyncio.gather(lively.take(FLOOD), flood(jobs))

        assert [each.id for each in heard] == list(range(1, FLOOD + 1))
        await until(lambda: site.feed.streams == 1)
        for sock in silent:
            sock.close()


async def test_a_stop_waits_for_no_client_that_reads_nothing(jobs):
    async with running(Site(jobs, replace(QUICK, send_timeout_s=60))) as site:
        silent = await silent_client(site)
        await until(lambda: site.feed.streams == 1)
        await flood(jobs)
        await asyncio.sleep(0.2)

        started = time.monotonic()
        await site.feed.stop()
        await until(lambda: site.feed.streams == 0)

        assert time.monotonic() - started < 15
        silent.close()


async def test_a_hundred_open_streams_leave_other_routes_as_they_were(jobs):
    options = replace(QUICK, max_streams=100, keep_alive_s=15, poll_interval_s=0.1)
    async with (
        running(Site(jobs, options)) as site,
        site.client() as client,
        AsyncExitStack() as all_,
    ):
        alone_ms = await best_median_ms(client)
        streams = [await all_.enter_async_context(reading(site)) for _ in range(100)]

        with_streams_ms = await best_median_ms(client)
        await submit(jobs, "a")
        told = await asyncio.gather(*(stream.next() for stream in streams))

        assert {each.job_id for each in told} == {"a"}
        assert with_streams_ms < 3 * alone_ms + 5


@pytest.mark.parametrize("path", ["/events", f"/job/{AN_ID}/events"])
@pytest.mark.parametrize("place", ["0" * 5000, "1" * 5000, "9" * 20])
async def test_a_place_of_thousands_of_digits_is_refused(site, path, place):
    answer = await answer_of(site, path, **{"last-event-id": place})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
