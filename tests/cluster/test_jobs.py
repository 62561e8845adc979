"""Durable jobs on a running server: worked on, taken over, handed back, scaled by their number."""

import io
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest
import yaml

from deployments.reaping import end
from deployments.sizes import DEFAULT
from tests.servers import SPLIT, bright_patches, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
PER_RUNNER = 3
VISITORS = 8
QUICK_JOBS = {
    "lease_s": 8, "backoff_s": 0.2, "window": 4, "chunk": 2, "queued_per_runner": PER_RUNNER,
}  # fmt: skip


class Media:
    """A media store whose images are there; those named slow only when it is told so."""

    def __init__(self):
        self.open = threading.Event()
        self.asked = []
        media = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                media.asked.append(self.path)
                if "slow" in self.path:
                    media.open.wait(120)
                self.answer(bright_patches(2))

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                self.answer(b"")

            def answer(self, body):
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def media():
    media = Media()
    yield media
    media.open.set()
    media.server.shutdown()
    media.server.server_close()


@pytest.fixture(autouse=True)
def _closed(media):
    media.open.clear()
    yield
    media.open.set()


def configure(server, file, media):
    """Let ``server`` run as ``file`` says, with jobs from ``media`` and less patience."""
    document = yaml.safe_load(file.read_text())
    [application] = document["applications"]
    args = application["args"]
    args["jobs"] = args["jobs"] | QUICK_JOBS
    args["media_store"] = {"url": media.url, "timeout_s": 100}
    sizes = {each["name"]: each for each in application["deployments"]}
    if runner := sizes.get("JobRunner"):
        runner["autoscaling_config"] |= {
            "upscale_delay_s": 0.5, "downscale_delay_s": 1,
            "look_back_period_s": 2, "metrics_interval_s": 0.5,
        }  # fmt: skip
    server.config.write_text(yaml.safe_dump(document))


@pytest.fixture(scope="module")
def worker(new_server, media):
    """A server of its own: it is stopped and started."""
    server = new_server()
    configure(server, SPLIT, media)
    server.start()
    server.await_ready()
    yield server
    server.stop()


@pytest.fixture
def small(new_server, media):
    """One host as `omma up` finds it: runner and engines live with the ingress."""
    server = new_server()
    configure(server, DEFAULT, media)
    server.start()
    server.await_ready()
    yield server
    server.close()


@pytest.fixture
def http(worker):
    with httpx.Client(base_url=worker.instance.url, timeout=60, trust_env=False) as client:
        yield client


def submitted(http, media_store_id, task_type="face_detection"):
    answer = http.post(f"/job/{task_type}", json={"media_store_id": media_store_id})
    assert answer.status_code == 201, answer.text
    return answer.json()["job_id"]


def ended(http, job_id):
    """The job's answer, once it has ended."""
    states = {"completed", "error", "cancelled"}
    return until(lambda: (job := http.get(f"/job/{job_id}").json())["status"] in states and job)


def recorded(server, job_id):
    """State, attempt and retries of a job, as the database has them."""
    with sqlite3.connect(server.home / "omma.db") as database:
        query = "SELECT status, attempt, retry_count FROM jobs WHERE job_id = ?"
        return database.execute(query, [job_id]).fetchone()


def runners(server):
    return server.named("ServeReplica:omma:JobRunner")


@pytest.mark.parametrize("task_type", ["face_detection", "face_embedding", "image_embedding"])
def test_an_upload_becomes_a_result_and_files(http, task_type):
    answer = http.post(f"/job/{task_type}", files={"file": ("a.jpg", bright_patches(2))})
    assert answer.status_code == 201, answer.text

    job = ended(http, answer.json()["job_id"])

    assert job["status"] == "completed", job
    paths = {
        "face_detection": ["faces/0.jpg", "faces/1.jpg"],
        "face_embedding": ["faces/0.bin", "faces/1.bin"],
        "image_embedding": ["embedding.bin"],
    }
    for path in paths[task_type]:
        file = http.get(f"/job/{job['job_id']}/files/{path}")
        assert file.status_code == 200, path
        if path.endswith(".bin"):
            assert np.load(io.BytesIO(file.content)).shape == (512,)


def test_a_job_whose_runner_is_killed_is_finished_by_the_next(worker, media, http):
    job_id = submitted(http, "slow-kill")
    until(lambda: any("slow-kill" in path for path in media.asked))

    end(runners(worker), grace_s=0)
    media.open.set()
    job = ended(http, job_id)

    assert job["status"] == "completed", job
    assert recorded(worker, job_id)[1] == 2


def test_runners_come_and_go_with_the_queue(worker, media, http):
    until(lambda: len(runners(worker)) == 1)

    jobs = [submitted(http, f"slow-{n}") for n in range(3 * PER_RUNNER)]
    until(lambda: len(runners(worker)) == 2, 90)
    media.open.set()
    done = [ended(http, job_id)["status"] for job_id in jobs]
    until(lambda: len(runners(worker)) == 1, 90)

    assert done == ["completed"] * len(jobs)


def test_jobs_that_run_when_the_server_stops_are_finished_after_its_next_start(worker, media, http):
    job_id = submitted(http, "slow-stop")
    until(lambda: any("slow-stop" in path for path in media.asked))

    worker.stop()
    handed_back = recorded(worker, job_id)
    media.open.set()
    worker.start()
    worker.await_ready()

    with httpx.Client(base_url=worker.instance.url, timeout=60, trust_env=False) as after:
        assert ended(after, job_id)["status"] == "completed"
    assert handed_back == ("pending", 1, 0)


def visit(url, answered, is_over):
    """Ask one thing after the other, until nobody answers."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        while not is_over.is_set():
            try:
                answered.append(http.post("/api/v1/faces/embed", files={"file": bright_patches()}))
            except httpx.TransportError:
                return


def test_on_a_small_host_streams_and_requests_do_not_keep_jobs_from_being_handed_back(small, media):
    url, answered, is_over = small.instance.url, [], threading.Event()
    with (
        httpx.Client(base_url=url, timeout=60, trust_env=False) as http,
        ThreadPoolExecutor(VISITORS) as pool,
    ):
        done = ended(http, submitted(http, "quick", "image_embedding"))
        jobs = [submitted(http, f"slow-small-{n}") for n in range(2 * QUICK_JOBS["window"])]
        until(lambda: len([path for path in media.asked if "slow-small" in path]) >= 4)

        with http.stream("GET", "/events") as events:
            first = next(events.iter_raw())
            for _ in range(VISITORS):
                pool.submit(visit, url, answered, is_over)
            until(lambda: len(answered) >= VISITORS)
            code = small.stop()
            is_over.set()

    handed_back = [recorded(small, job_id) for job_id in jobs]
    assert done["status"] == "completed"
    assert first
    assert code == 0
    assert handed_back == [("pending", 1, 0)] * 4 + [("pending", 0, 0)] * 4
