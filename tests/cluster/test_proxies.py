"""A server whose environment names proxies: nothing within the cluster goes through one."""

import httpx
import pytest

from tests.proxies import VARIABLES, RecordingProxy
from tests.servers import bright_patches, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def proxy(monkeypatch):
    with RecordingProxy() as proxy:
        for name in VARIABLES:
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY", "grpc_proxy", "no_grpc_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield proxy


@pytest.fixture
def server(new_server, proxy):  # noqa: ARG001  starts in the proxy's environment
    server = new_server()
    server.start()
    server.await_ready()
    yield server
    server.stop()


def test_no_deployment_asks_another_through_a_proxy(server, proxy):
    with httpx.Client(base_url=server.instance.url, timeout=60, trust_env=False) as client:
        answer = client.post("/api/v1/faces/embed", files={"file": bright_patches(2)})
        job = client.post("/job/face_embedding", files={"file": bright_patches()}).json()
        until(lambda: client.get(f"/job/{job['job_id']}").json()["status"] == "completed")
        health = client.get("/health").json()
        metrics = client.get("/metrics")

    assert len(answer.json()["faces"]) == 2
    assert health["status"] == "healthy"
    assert metrics.status_code == 200
    assert proxy.asked == []
