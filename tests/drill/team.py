"""The processes of a drill: an ingress and runners, which may be killed, paused, started again."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import uuid

import httpx

from tests.servers import unused_port

QUICK = {
    "JOBS__LEASE_S": 3,
    "JOBS__BACKOFF_S": 0.1,
    "JOBS__MAX_RETRIES": 1000,  # a kill is no fault of the job's
    "JOBS__POLL_INTERVAL_S": 0.1,
}


class Team:
    """Processes that share one home; none outlives the test."""

    def __init__(self, home, settings):
        port = unused_port()
        own = QUICK | {"HOME": home, "HTTP__PORT": port} | settings
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OMMA_")}
        self.environ = kept | {f"OMMA_{name}": str(value) for name, value in own.items()}
        self.url = f"http://127.0.0.1:{port}"
        self.processes = {}

    def start(self, name):
        role = name.partition("-")[0]
        command = [sys.executable, "-m", "tests.drill.process", role]
        self.processes[name] = subprocess.Popen(command, env=self.environ)  # noqa: S603

    def kill(self, name):
        process = self.processes[name]
        process.kill()
        process.wait()

    @contextlib.contextmanager
    def paused(self, *names):
        """Nothing of these, or of all, moves, as on a machine that is suspended."""
        held = [self.processes[name] for name in names or self.processes]
        for process in held:
            process.send_signal(signal.SIGSTOP)
        yield
        for process in held:
            process.send_signal(signal.SIGCONT)

    def close(self):
        for name in self.processes:
            self.kill(name)

    async def answers(self):
        """Whether its ingress is up again."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=2) as client:
            try:
                return (await client.get("/jobs", params={"limit": 1})).status_code == 200
            except httpx.TransportError:
                return False

    @contextlib.asynccontextmanager
    async def client(self):
        """For its routes; they answer already."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60) as client:
            await _insist(client, "GET", "/jobs")
            yield client


@contextlib.contextmanager
def at_work(home, settings, *, runners):
    """A team of one ingress and so many runners."""
    with contextlib.closing(Team(home, settings)) as team:
        for name in ["ingress", *(f"runner-{number}" for number in range(runners))]:
            team.start(name)
        yield team


async def submit(client, *, key=None, **body):
    """A job's id, asked for until it is answered."""
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}
    answer = await _insist(client, "POST", "/job/checksum", headers=headers, **body)
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()["job_id"]


async def _insist(client, *request, **options):
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = await client.request(*request, **options)
            if answer.status_code != 503:
                return answer
        await asyncio.sleep(0.2)


def upload(number):
    """The body of a job that brings its image along."""
    return {"files": {"file": ("a.jpg", b"upload %d" % number)}}


def media(number):
    """The body of a job whose image is in the media store."""
    return {"json": {"media_store_id": f"m{number}"}}


async def submitted(client, bodies):
    """The ids of jobs with these bodies, in their order."""
    return list(await asyncio.gather(*(submit(client, **body) for body in bodies)))


def expect_refusal(answer, code):
    """It is a 503 that says what is wrong, and when to come back."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["code"] == code
