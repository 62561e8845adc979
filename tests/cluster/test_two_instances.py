"""Two homes on one machine, killed and started again beside each other."""

import re
import sqlite3
from pathlib import Path

import httpx
import psutil
import pytest

from deployments.reaping import end
from deployments.sizes import DEFAULT
from tests.servers import bright_patches

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
POSTS = 40


@pytest.fixture
def homes(new_server):
    """Two servers that do not run yet."""
    servers = [new_server(), new_server()]
    for server in servers:
        server.config.write_text(DEFAULT.read_text())
    yield servers
    for server in servers:
        server.close()


def start(server):
    server.start()
    server.await_ready()


def replica_ports(server):
    """Where HAProxy looks for replicas of this server's ingress."""
    *_, haproxy = server.named("bin/haproxy")
    words = psutil.Process(haproxy.pid).cmdline()
    config = Path(words[words.index("-f") + 1]).read_text()
    return set(re.findall(r"^ *server SERVE_REPLICA\S+ \S+:(\d+)", config, re.MULTILINE))


def kill_all_but_haproxy(server):
    """As an end of memory may: what is left takes requests, and has nobody to ask."""
    victims = [each for each in server.processes if "bin/haproxy" not in each.command]
    server.process.kill()
    end(victims, grace_s=0)
    server.process.wait()


def post(server):
    """Submit a job, and answer its id; none where nobody takes it."""
    url = f"http://127.0.0.1:{server.port}/job/face_detection"
    files = {"file": ("a.jpg", bright_patches(), "image/jpeg")}
    answer = httpx.post(url, files=files, timeout=60, trust_env=False)
    return answer.json()["job_id"] if answer.is_success else None


def recorded(server):
    """The ids of all jobs that this home knows."""
    with sqlite3.connect(server.home / "omma.db") as database:
        return [job_id for (job_id,) in database.execute("SELECT job_id FROM jobs")]


def test_no_job_reaches_the_instance_that_took_over_the_ports_of_a_killed_one(homes):
    killed, other = homes
    start(killed)
    ports = replica_ports(killed)
    kill_all_but_haproxy(killed)
    start(other)

    taken = [post(killed) for _ in range(POSTS)]

    assert replica_ports(other) & ports
    assert set(taken) == {None}
    assert recorded(other) == []
    start(killed)
    assert [post(killed), post(other)] == [*recorded(killed), *recorded(other)]
