"""What a running server answers, where it listens, and who is let in."""

import json
import re
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from tests.servers import bright_patches, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
JPEG = {"content-type": "image/jpeg"}


LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
METHODS = {  # one of each kind of control port; an unknown method is refused before the token is
    "gcs_server": "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "raylet": "/ray.rpc.NodeManagerService/GetNodeStats",
    "worker": "/ray.rpc.CoreWorkerService/PushTask",
    "replica": "/ray.serve.ASGIService/HandleRequest",
}


def listeners(server):
    """Address and port of everything on which this server's processes listen."""
    pids = {process.pid for process in server.processes}
    return {
        tuple(each.laddr)
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.pid in pids
    }


def named_ports(server):
    """The ports that people and other programs ask, by what answers there."""
    environ = server.ray_environment()
    session = server.home / "ray" / "session_latest"
    [agents] = json.loads((session / "prom_metrics_service_discovery.json").read_text())
    [haproxy, *_] = server.named("bin/haproxy")
    words = psutil.Process(haproxy.pid).cmdline()
    proxied = Path(words[words.index("-f") + 1]).read_text()
    return {
        "HTTP": {server.instance.port},
        "replica HTTP": set(
            map(int, re.findall(r"^ *server \S+ \S+:(\d+)", proxied, re.MULTILINE))
        ),
        "fallback HTTP": {int(environ["RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"])},
        "HAProxy's statistics": {int(environ["RAY_SERVE_HAPROXY_STATS_PORT"])},
        "HAProxy's metrics": {int(environ["RAY_SERVE_HAPROXY_METRICS_PORT"])},
        "Ray's metrics": {int(target.rpartition(":")[2]) for target in agents["targets"]},
        "dashboard": {server.instance.dashboard_port},
    }


def logged(server, deployment, request_id):
    """The structured records about one request in the logs of a deployment's replicas."""
    folder = server.home / "ray" / "session_latest" / "logs" / "serve"
    lines = [
        json.loads(line)
        for path in folder.glob(f"replica_omma_{deployment}_*.log")
        for line in path.read_text().splitlines()
    ]
    return [line for line in lines if line.get("request_id") == request_id]


def knock(port, method):
    """How a gRPC port answers a stranger who calls ``method``."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(method)(b"", timeout=5)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def test_an_image_goes_all_the_way_through(client):
    answer = client.post("/api/v1/faces/embed", content=bright_patches(2), headers=JPEG)

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["faces"]) == 2


def test_errors_cross_the_handles_as_themselves(client):
    answer = client.post("/api/v1/faces/detect", content=b"\xff\xd8\xff", headers=JPEG)

    assert answer.status_code == 422
    assert answer.json()["code"] in {"truncated_image", "undecodable_image"}


def test_every_port_is_on_loopback_or_asks_for_the_token(server):
    # Serve binds the channel between its replicas to every interface, and offers no other way.
    open_ports = {port for address, port in listeners(server) if address not in LOOPBACK}

    assert {knock(port, METHODS["replica"]) for port in open_ports} <= {"UNAUTHENTICATED"}


def test_who_answers_yields_to_no_other_program_of_the_machine(server):
    commands = {each.pid: each.command for each in server.named("ray::Serve")}  # Ray's workers
    niceness = {command: psutil.Process(pid).nice() for pid, command in commands.items()}

    assert {"Ingress", "FaceDetection"} <= {command.rpartition(":")[2] for command in niceness}
    assert set(niceness.values()) == {psutil.Process().nice()}


def test_http_metrics_and_dashboard_are_on_loopback_alone(server):
    named, listening = named_ports(server), listeners(server)

    addresses = {
        name: {address for address, port in listening if port in ports}
        for name, ports in named.items()
    }
    assert [name for name, found in addresses.items() if not found] == []
    assert {name: found - LOOPBACK for name, found in addresses.items() if found - LOOPBACK} == {}


def test_a_clients_request_id_is_in_the_logs_of_every_replica_on_the_way(server, client):
    request_id = str(uuid.uuid4())

    answer = client.post(
        "/api/v1/faces/detect",
        content=bright_patches(),
        headers=JPEG | {"x-request-id": request_id},
    )

    assert answer.headers["x-request-id"] == request_id
    for deployment in ("Ingress", "FaceDetection"):
        until(lambda name=deployment: logged(server, name, request_id), 10)


@pytest.mark.parametrize("kind", METHODS)
def test_control_ports_answer_nobody_without_the_token(server, kind):
    answers = Counter(knock(port, METHODS[kind]) for _, port in listeners(server))

    assert answers["UNAUTHENTICATED"] >= 1
    assert answers["OK"] == 0


def test_the_dashboard_asks_for_the_token(server):
    url = f"{server.instance.dashboard_url}/api/serve/applications/"
    token = (server.home / "run" / "ray_token").read_text()

    stranger = httpx.get(url, timeout=60, trust_env=False)
    shown = {"authorization": f"Bearer {token}"}
    friend = httpx.get(url, headers=shown, timeout=60, trust_env=False)

    assert (stranger.status_code, friend.status_code) == (401, 200)


def test_metrics_of_batches_reach_the_metrics_route(client):
    client.post("/api/v1/faces/detect", content=bright_patches(), headers=JPEG)

    until(lambda: "omma_batch_size_count{" in client.get("/metrics").text, 60)


def test_a_second_server_in_the_same_home_says_where_the_first_is(server):
    result = server.run("omma.cli.main", "up")

    assert result.returncode == 1
    assert server.instance.url in result.stderr


def test_status_tells_what_runs(server):
    status = until(lambda: healthy_status(server))

    assert status["memory_mb"] > 100


def healthy_status(server):
    """What the command tells; None while a look at the cluster takes too long."""
    result = server.run("omma.cli.main", "status", "--json")
    assert result.returncode == 0
    status = json.loads(result.stdout)
    return status if status["health"]["status"] == "healthy" else None


def test_the_dashboards_token_can_be_printed(server):
    printed = server.run("omma.cli.main", "dashboard").stdout

    assert (server.home / "run" / "ray_token").read_text() in printed


def test_the_example_calls_through_a_handle(server, tmp_path):
    image = tmp_path / "image.jpg"
    image.write_bytes(bright_patches(3))

    result = subprocess.run(  # noqa: S603
        [sys.executable, "examples/handle_call.py", image],
        env=server.environment() | {"OMMA_HOME": str(server.home), "PYTHONPATH": "."},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "3 faces in 192x96 px" in result.stdout, result.stderr
