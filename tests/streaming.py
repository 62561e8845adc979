"""The API behind a real server on loopback, over jobs in memory, for suites of what streams."""

import asyncio
import socket
import statistics
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import uvicorn

from omma.api.app import ApiOptions, build_api
from omma.domain.errors import TokenExpired, TokenInvalid
from omma.domain.events import EventKind
from omma.domain.jobs import Completed, Failed, Failure, Job, JobState, Progress, Submission
from omma.domain.tokens import SUPPORT, Principal
from omma.services.events import EventFeed, FeedOptions
from omma.services.jobs import JobService
from omma.services.tokens import Gatekeeper
from tests.service_fakes import fake_services

PATIENCE_S = 20.0
FLOOD = 3000  # events of 3 kB: more than all buffers between two processes take
QUICK = FeedOptions(poll_interval_s=0.005, max_streams=20, keep_alive_s=0.05, send_timeout_s=5)


class NamesAsTokens:
    """TokenVerifier: the token is the subject's name; some names are special."""

    def __init__(self):
        self.expires_at = None

    async def verify(self, token):
        name = token
        if name == "expired":
            raise TokenExpired("the token has expired")
        if name == "garbage":
            raise TokenInvalid("this is no token")
        permissions = frozenset() if name == "nobody" else frozenset({SUPPORT})
        return Principal(name, permissions, is_admin=name == "admin", expires_at=self.expires_at)


class Site:
    """One replica: its feed, its server and the jobs that it shares with others."""

    def __init__(self, jobs, options=QUICK, **api):
        self.jobs = jobs
        self.verifier = NamesAsTokens()
        self.feed = EventFeed(jobs.log, jobs.store, options)
        services = fake_services(
            jobs=JobService(jobs.store, jobs.control, jobs.batches, jobs.queue, None),
            feed=self.feed,
            gate=Gatekeeper(self.verifier),
        )
        self.app = build_api(services, ApiOptions(**api))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}/ws/queue"

    def client(self, who="ada"):
        headers = {"authorization": f"Bearer {who}"} if who else {}
        limits = httpx.Limits(max_connections=None)
        return httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=PATIENCE_S,
            limits=limits,
            trust_env=False,
            verify=False,  # noqa: S501  no TLS here, and reading certificates takes long
        )


@asynccontextmanager
async def running(site):
    config = uvicorn.Config(site.app, lifespan="off", log_config=None, ws="websockets-sansio")
    server = uvicorn.Server(config)
    await site.feed.start()
    serving = asyncio.create_task(server.serve([site.listener]))
    try:
        await until(lambda: server.started)
        yield site
    finally:
        await site.feed.stop()
        server.should_exit = True
        await asyncio.wait_for(serving, PATIENCE_S)


async def submit(jobs, *names, owner="ada"):
    asked = [Submission(name, "face_detection", (), owner) for name in names]
    await jobs.store.submit(asked, quota=10**6)


async def claim(jobs):
    [claim] = await jobs.queue.claim("runner", {"face_detection"}, limit=1, lease_s=60)
    return claim.hold


async def complete(jobs, hold):
    await jobs.queue.settle([Completed(hold, {"faces": []}, {"faces": 0})])


async def fail(jobs, hold):
    await jobs.queue.settle([Failed(hold, Failure("invalid_input", "no image"), None)])


async def progress(jobs, hold, current, total):
    await jobs.queue.report([(hold, Progress(current, total, "detecting"))])


async def flood(jobs):
    """Events by the thousand, faster than any client reads."""
    asked = Submission("flood", "face_detection", (), "ada")
    job = Job(asked, JobState.PROCESSING, datetime.now(UTC))
    for n in range(FLOOD):
        jobs.tell(EventKind.STARTED, job, note="x" * 3000)
        if n % 100 == 0:
            await asyncio.sleep(0.01)


async def until(condition):
    """Wait for a true answer of ``condition``."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  conditions of others
            await asyncio.sleep(0.01)


async def best_median_ms(client, path="/metrics", rounds=4, count=20):
    """What an answer takes while nothing else on the machine is in the way."""
    medians = []
    for _ in range(rounds):
        took = []
        for _ in range(count):
            started = time.perf_counter()
            await client.get(path)
            took.append((time.perf_counter() - started) * 1000)
        medians.append(statistics.median(took))
    return min(medians)
