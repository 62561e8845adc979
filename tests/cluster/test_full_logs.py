"""The disk under the logs is full: answers and jobs come all the same."""

import httpx
import pytest

from tests.drill.small_disks import mounted
from tests.servers import bright_patches, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
SIZE = "64m"  # of what Ray writes while it starts, and its sockets


@pytest.fixture
def cramped(new_server):
    """A server whose logs lie on a disk of their own."""
    server = new_server()
    with mounted(server.home / "ray", size=SIZE) as disk:
        server.start()
        server.await_ready()
        yield server, disk
        server.close()


def test_while_the_logs_have_no_room_answers_and_jobs_come_and_afterwards_the_count(cramped):
    server, disk = cramped
    picture = {"file": ("a.jpg", bright_patches(2))}
    with httpx.Client(base_url=server.instance.url, timeout=60, trust_env=False) as http:
        disk.fill()
        health = [http.get("/health").status_code for _ in range(8)]
        found = [http.post("/api/v1/faces/detect", files=picture).status_code for _ in range(6)]
        job_id = http.post("/job/face_detection", files=picture).json()["job_id"]
        until(lambda: http.get(f"/job/{job_id}").json()["status"] == "completed")
        disk.clear()
        until(lambda: http.get("/health").is_success and told(server))

    assert health == [200] * 8
    assert found == [200] * 6


def told(server):
    logs = (server.home / "ray" / "session_latest" / "logs" / "serve").glob("replica_*.log")
    return any("the log had no room for some records" in log.read_text() for log in logs)
