"""Every process of a server dies at once, amid its work; the next one ends what was begun."""

import asyncio
import os
import signal
import uuid
from contextlib import suppress
from hashlib import sha256

import httpx
import pytest
from sqlalchemy import func, select

from deployments.reaping import is_alive
from omma.stores.records.tables import jobs
from tests.cluster.test_jobs import configure, media, submitted
from tests.databases import opened
from tests.drill.verdict import all_ended, each_ended_once, eventually, files, lost, swept
from tests.servers import SPLIT, bright_patches, until

__all__ = ["media"]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

JOBS = 150
CALLERS = 4
BEFORE = 30  # jobs that have ended when everything dies


@pytest.fixture
def server(new_server, media, database_url, monkeypatch):
    monkeypatch.setenv("OMMA_DATABASE__URL", database_url)
    server = new_server()
    configure(server, SPLIT, media)
    media.open.clear()
    media.asked.clear()
    server.start()
    server.await_ready()
    yield server
    server.close()


async def test_jobs_of_a_cluster_that_died_at_once_are_ended_once_by_the_next(
    server, media, database_url
):
    keys = [str(uuid.uuid4()) for _ in range(JOBS)]
    async with opened(database_url) as database:
        stalled = await asyncio.to_thread(submit_stalled, server, media)
        submitting = asyncio.create_task(submit_all(server, keys))
        await eventually(lambda: is_in_the_midst(database))
        await asyncio.to_thread(kill, server)
        answered = await submitting
        before = await ended_jobs(database)
        media.open.set()
        await asyncio.to_thread(come_back, server)
        ids = await submit_all(server, keys)
        await all_ended(database)
        await each_ended_once(database, [stalled, *ids])
        cut_off = await lost(database)
    await swept(database_url, server.home / "blobs")

    assert BEFORE <= before < JOBS
    assert cut_off[stalled] == 1
    assert set(filter(None, answered)) <= set(ids)
    stored = set(files(server.home / "blobs"))
    assert stored == expected(ids) | results_of(stalled)


def submit_stalled(server, media):
    """The id of a job that is at work until the media store lets go of its image."""
    with httpx.Client(base_url=server.instance.url, timeout=60, trust_env=False) as http:
        job_id = submitted(http, "slow-whole")
    until(lambda: any("slow-whole" in path for path in media.asked))
    return job_id


async def submit_all(server, keys):
    """The id of each job; None where no answer came."""
    turns = asyncio.Semaphore(CALLERS)
    image = bright_patches(2)

    async def submit(client, key):
        async with turns:
            with suppress(httpx.TransportError):
                answer = await client.post(
                    "/job/face_detection",
                    files={"file": ("a.jpg", image)},
                    headers={"Idempotency-Key": key},
                )
                assert answer.status_code in {200, 201}, answer.text
                return answer.json()["job_id"]

    url = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        return await asyncio.gather(*(submit(client, key) for key in keys))


async def is_in_the_midst(database):
    return await ended_jobs(database) >= BEFORE


async def ended_jobs(database):
    query = select(func.count()).select_from(jobs).where(jobs.c.status == "completed")
    async with database.read() as connection:
        return await connection.scalar(query)


def kill(server):
    """The command, the server, Ray, every replica: before any of them can react."""
    processes = server.processes
    # The proxy first: it would tell the callers of the death of what is behind it.
    processes.sort(key=lambda process: "haproxy" not in process.command)
    for pid in [*(process.pid for process in processes), server.process.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait()
    until(lambda: not any(map(is_alive, processes)))  # the dying still look ready


def come_back(server):
    server.start()
    server.await_ready()


def expected(ids):
    """The paths of every file there should be of jobs that were uploaded."""
    digest = sha256(bright_patches(2)).hexdigest()[:32]
    return set().union(*(results_of(job_id) | {f"uploads/{job_id}/0-{digest}"} for job_id in ids))


def results_of(job_id):
    return {f"jobs/{job_id}/faces/{number}.jpg" for number in range(2)}
