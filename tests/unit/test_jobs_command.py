"""`omma jobs` against a real server on this machine, over jobs in memory."""

import asyncio
import errno
import json
import os
import threading

import pytest
import uvicorn
from typer.testing import CliRunner

from omma.api.app import ApiOptions, build_api
from omma.cli.jobs import app
from omma.domain.jobs import Completed, Failed, Failure
from omma.services.tokens import Gatekeeper
from tests.job_fakes import MemoryJobs
from tests.service_fakes import NamedTokens, fake_services


class Server(uvicorn.Server):
    def __init__(self, services):
        app = build_api(services, ApiOptions())
        super().__init__(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none"))
        self.feed = services.feed
        self.is_up = threading.Event()

    async def shutdown(self, sockets=None):
        await self.feed.stop()
        await super().shutdown(sockets)

    async def startup(self, sockets=None):
        await self.feed.start()
        await super().startup(sockets)
        self.is_up.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


@pytest.fixture
def memory():
    return MemoryJobs()


@pytest.fixture
def url(memory):
    services = fake_services(memory=memory, gate=Gatekeeper(NamedTokens()))
    server = Server(services)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.is_up.wait(timeout=10)
    yield server.url
    server.should_exit = True
    thread.join()


@pytest.fixture
def run(url):
    def run(*arguments, who="ann"):
        environment = {"OMMA_URL": url, "OMMA_TOKEN": who}
        return CliRunner().invoke(app, [str(each) for each in arguments], env=environment)

    return run


def finish(memory, *, failure=None):
    async def work():
        claims = await memory.queue.claim("r", ["face_detection"], limit=100, lease_s=30)
        for claim in claims:
            outcome = Completed(claim.hold, {"faces": []})
            if failure:
                outcome = Failed(claim.hold, Failure("empty_image", failure), None)
            await memory.queue.settle([outcome])

    asyncio.run(work())


def submit(run, *arguments):
    result = run("submit", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line)["job_id"] for line in result.stdout.splitlines()]


def test_files_folders_urls_and_media_become_jobs(run, memory, tmp_path):
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_bytes(b"faces:1")
    options = ("--priority", 9, "-p", "max_faces=2", "-o", "face_embedding", "--media-id", "m")

    ids = submit(run, tmp_path, "https://example.com/c.jpg", *options)

    asked = [memory.rows[job_id].job.asked for job_id in ids]
    assert len(asked) == 4
    assert {each.priority for each in asked} == {9}
    assert {each.params["max_faces"] for each in asked} == {2}
    assert {each.operation for each in asked} == {"face_embedding"}
    assert {each.owner for each in asked} == {"ann"}


def test_a_refused_job_has_its_line_and_the_rest_go_on(run, memory):
    result = run("submit", "--media-id", "m", "--media-id", "m")

    assert result.exit_code == 1
    assert "duplicate_job" in result.stderr
    assert len(memory.rows) == 1


def test_jobs_are_listed_newest_first(run):
    ids = submit(run, "--media-id", "m1") + submit(run, "--media-id", "m2")

    shown = run("list").stdout
    lines = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]

    assert [line["job_id"] for line in lines] == ids[::-1]
    assert all(job_id in shown for job_id in ids)


def test_a_job_is_shown_with_its_result(run, memory):
    [job_id] = submit(run, "--media-id", "m")
    finish(memory)

    assert '"faces": []' in run("show", job_id).stdout
    assert json.loads(run("show", job_id, "--json").stdout)["status"] == "completed"


@pytest.mark.parametrize(("failure", "code"), [(None, 0), ("no bytes", 1)])
def test_watching_ends_with_the_jobs(run, memory, failure, code):
    ids = submit(run, "--media-id", "m1", "--media-id", "m2")
    finish(memory, failure=failure)

    result = run("watch", *ids)

    assert result.exit_code == code, result.output
    assert result.stderr.count("completed" if code == 0 else "error") == 2


def test_events_are_watched_as_json_too(run, memory):
    [job_id] = submit(run, "--media-id", "m1")
    finish(memory)

    lines = [json.loads(line) for line in run("watch", job_id, "--json").stdout.splitlines()]

    assert [line["event"] for line in lines] == ["job_submitted", "job_started", "job_completed"]


def test_jobs_are_cancelled_retried_and_removed(run, memory):
    [job_id] = submit(run, "--media-id", "m1")

    results = [run(command, job_id) for command in ("cancel", "retry", "clean")]

    assert [result.exit_code for result in results] == [0, 0, 0]
    assert memory.rows == {}


def test_what_cannot_be_done_is_said_in_one_line(run):
    [job_id] = submit(run, "--media-id", "m1")

    retried = run("retry", job_id)
    foreign = run("cancel", job_id, who="bob")
    unknown = run("show", "nonsense")

    assert (retried.exit_code, foreign.exit_code, unknown.exit_code) == (1, 1, 2)
    assert "job_state_conflict" in retried.stderr
    assert "job_not_found" in foreign.stderr
    assert unknown.stderr.count("\n") == 1


def test_only_administrators_clean_up_for_everybody(run, memory):
    submit(run, "--media-id", "m1")
    finish(memory)

    refused = run("clean")
    done = run("clean", who="admin")

    assert (refused.exit_code, done.exit_code) == (2, 0)
    assert "admin_required" in refused.stderr
    assert "removed 1 jobs" in done.stdout
    assert memory.rows == {}


def test_no_server_is_told_with_what_to_do(unused_tcp_port):
    environment = {"OMMA_URL": f"http://127.0.0.1:{unused_tcp_port}"}

    result = CliRunner().invoke(app, ["list"], env=environment)

    assert result.exit_code == 2
    assert "omma up" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit",),
        ("submit", "nowhere.jpg"),
        ("submit", "--media-id", "m", "--priority", "11"),
        ("submit", "--media-id", "m", "-p", "nonsense"),
        ("list", "--status", "nonsense"),
        ("clean", "--status", "nonsense"),
        ("show",),
    ],
)
def test_wrong_usage_asks_no_server(arguments):
    result = CliRunner().invoke(app, arguments, env={"OMMA_URL": "http://127.0.0.1:1"})

    assert result.exit_code == 2
    assert "Error" in result.stderr


NOT_UTF8 = os.fsdecode(b"th\xe9.jpg")


def test_a_name_that_is_not_utf8_loses_no_id(run, memory, tmp_path):
    (tmp_path / NOT_UTF8).write_bytes(b"faces:1")

    result = run("submit", "--json", tmp_path)
    shown = run("submit", tmp_path)

    [line] = map(json.loads, result.stdout.splitlines())
    assert (line["job_id"] in memory.rows, line["name"]) == (True, rf"{tmp_path}/th\xe9.jpg")
    assert shown.stdout.endswith("th\\xe9.jpg\n")
    assert (result.exit_code, shown.exit_code) == (0, 0)


def test_a_folder_that_cannot_be_read_is_one_job_less(run, memory, tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"faces:1")
    (tmp_path / "locked").mkdir()
    scandir = os.scandir
    monkeypatch.setattr(
        os, "scandir", lambda at: refuse(at) if at.name == "locked" else scandir(at)
    )

    result = run("submit", "--json", tmp_path)

    assert result.exit_code == 1
    assert sorted(json.loads(line)["name"] for line in result.stdout.splitlines()) == [
        str(tmp_path / "a.jpg"),
        str(tmp_path / "locked"),
    ]
    assert len(memory.rows) == 1


def refuse(path):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))
