"""Where a server with keys really listens, and whom it lets in there."""

import ipaddress
import socket

import httpx
import psutil
import pytest

from deployments.sizes import DEFAULT
from tests.servers import until
from tests.token_fakes import SECRET, claims, hs256, user_claims

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

EVERYWHERE = "0.0.0.0"  # noqa: S104
GRPC = "ray::ServeReplica"  # between replicas, on every interface, behind Ray's token


@pytest.fixture
def server(new_server, monkeypatch):
    monkeypatch.setenv("OMMA_AUTH__SECRET", SECRET)
    server = new_server()
    server.config.write_text(DEFAULT.read_text())
    server.start("omma.cli.main", "up", "--host", EVERYWHERE)
    server.await_ready()
    yield server
    server.stop()


def is_loopback(address):
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def open_to_strangers(server):
    """Name and port of whatever of the server listens beyond loopback."""
    ours = {process.pid: process.name for process in server.processes}
    return {
        (psutil.Process(each.pid).name(), each.laddr.port)
        for each in psutil.net_connections("tcp")
        if each.status == "LISTEN" and each.pid in ours and not is_loopback(each.laddr.ip)
    }


def test_with_a_key_requests_alone_are_taken_everywhere_and_none_without_a_token(server):
    url = f"http://{socket.gethostbyname(socket.gethostname())}:{server.port}"
    good, poor = hs256({**user_claims(), **claims()}), hs256()

    def status(path, token=None):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.get(url + path, headers=headers, timeout=60, trust_env=False).status_code

    until(lambda: status("/metrics", good) == 200)
    assert (status("/health"), status("/metrics"), status("/jobs")) == (200, 401, 401)
    assert (status("/metrics", poor), status("/jobs", poor), status("/jobs", good)) == (
        200, 403, 200,
    )  # fmt: skip
    beyond = {each for each in open_to_strangers(server) if not each[0].startswith(GRPC)}
    assert beyond == {("haproxy", server.port)}
