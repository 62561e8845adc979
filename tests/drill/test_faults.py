"""The database, or the broker, goes away and comes back: jobs and events wait, and none is lost."""

import asyncio
import contextlib
import json
import time
import uuid
from collections import Counter

import aiomqtt
import pytest

from omma.stores.records.tables import cursors, events
from tests.brokers import broker
from tests.databases import opened
from tests.drill.listening import listening
from tests.drill.team import at_work, expect_refusal, submit, submitted, upload
from tests.drill.verdict import (
    all_ended,
    each_ended_once,
    endings,
    eventually,
    files,
    gathered,
    rows,
    swept,
)
from tests.postgres import Postgres

__all__ = ["broker"]

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]

GONE_S = 20.0
PATIENCE_S = 90.0  # a publisher that failed often waits for up to a minute


@pytest.fixture
def postgres_server():
    """One of the test's own, which it may stop."""
    with contextlib.closing(Postgres()) as server:
        yield server


async def test_a_database_that_is_gone_loses_neither_jobs_nor_events(tmp_path, postgres_server):
    settings = {"DATABASE__URL": postgres_server.url, "JOBS__WINDOW": 4, "JOBS__CHUNK": 2}
    with at_work(tmp_path, settings, runners=2) as team:
        async with team.client() as client, listening(client) as listener:
            ids = await submitted(client, map(upload, range(60)))
            await gathered(lambda: listener.jobs("job_completed"), 4)
            await asyncio.to_thread(postgres_server.stop)
            seen = len(listener.jobs("job_completed"))
            refused = await _refused(client, GONE_S)
            await asyncio.to_thread(postgres_server.start)
            ids += [await submit(client, key=key, **upload(0)) for key in refused]
            async with opened(postgres_server.url) as database:
                await all_ended(database)
                await each_ended_once(database, ids)
                happened = len(await endings(database))
            await gathered(lambda: listener.jobs("job_completed"), happened)
    await swept(postgres_server.url, tmp_path / "blobs")

    assert seen < 60  # it was gone in the midst of the work
    assert len(refused) > 10
    assert Counter(listener.jobs("job_completed")) == Counter(ids)
    assert listener.seqs == sorted(set(listener.seqs))
    assert listener.connections == 1
    kept = {path.split("/")[1] for path in files(tmp_path / "blobs") if path.startswith("uploads/")}
    assert kept == set(ids)


async def _refused(client, for_s):
    """The keys of what was submitted in vain for so long."""
    keys, until = [], time.monotonic() + for_s
    while time.monotonic() < until:
        keys.append(str(uuid.uuid4()))
        expect_refusal(await _post(client, keys[-1]), "store_unavailable")
        expect_refusal(await client.get("/jobs"), "store_unavailable")
        await asyncio.sleep(0.5)
    return keys


async def _post(client, key):
    headers = {"Idempotency-Key": key}
    return await client.post("/job/checksum", headers=headers, **upload(0))


async def test_events_are_published_in_order_after_the_broker_was_gone(
    tmp_path, database_url, broker
):
    settings = {
        "DATABASE__URL": database_url,
        "BROADCAST__TYPE": "mqtt",
        "BROADCAST__HOST": "127.0.0.1",
        "BROADCAST__PORT": broker.port,
    }
    with at_work(tmp_path, settings, runners=2) as team:
        async with team.client() as client, opened(database_url) as database:
            await eventually(lambda: _has_begun(database))
            async with _subscribed(broker) as messages:
                await submitted(client, map(upload, range(10)))
                before = await _heard_all(database, messages, 0)
            broker.kill()
            await submitted(client, map(upload, range(20)))
            await all_ended(database)
            async with contextlib.AsyncExitStack() as stack:
                with team.paused():  # the broker remembers nobody: who listens comes first
                    broker.start()
                    messages = await stack.enter_async_context(_subscribed(broker))
                after = await _heard_all(database, messages, before[-1])
            happened = [row.seq for row in await rows(database, events)]

    assert before + after == sorted(happened)


async def _has_begun(database):
    """Whether the publisher knows where the log began for it."""
    return await rows(database, cursors)


@contextlib.asynccontextmanager
async def _subscribed(broker):
    version = aiomqtt.ProtocolVersion.V5
    async with aiomqtt.Client("127.0.0.1", broker.port, protocol=version) as client:
        await client.subscribe("inference/events")
        yield client.messages


async def _heard_all(database, messages, after):
    """The place of every message until the log has no more."""
    await all_ended(database)
    last = max(row.seq for row in await rows(database, events))
    heard = [after]
    async with asyncio.timeout(PATIENCE_S):
        while heard[-1] < last:
            message = await anext(messages)
            heard.append(json.loads(message.payload)["data"]["seq"])
    return heard[1:]
