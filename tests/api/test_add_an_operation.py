"""The operation of docs/how-to/add-an-operation.md, added as that page says."""

import json
import threading

import httpx
import numpy as np
import pytest
import uvicorn
from typer.testing import CliRunner

from omma.api.app import ApiOptions, build_api
from omma.cli import main
from omma.cli.operations import commands_of
from omma.domain.errors import UndecodableImage
from omma.domain.faces import Lane
from omma.operations.registry import OPERATIONS, bind, handle_methods
from tests.fakes import capabilities
from tests.pages import blocks
from tests.samples import encode
from tests.service_fakes import fake_services

GREY = encode(np.full((90, 120, 3), 51, np.uint8), "PNG")  # a fifth of 255

[PROGRAM] = [each.values[0] for each in blocks("python") if each.values[1] == "Operation"]


@pytest.fixture(scope="module")
def operation():
    names = {"__name__": "omma.operations.brightness"}
    exec(compile(PROGRAM, "<docs>", "exec"), names)  # noqa: S102  our own page
    return names["IMAGE_BRIGHTNESS"]


@pytest.fixture(scope="module")
def bound(operation):
    return bind(capabilities(), (*OPERATIONS, operation))


@pytest.fixture(scope="module")
def app(bound):
    return build_api(fake_services(operations=bound), ApiOptions())


@pytest.fixture
def client(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


def test_it_takes_less_than_thirty_lines_of_code():
    assert len([line for line in PROGRAM.splitlines() if line.strip()]) < 30


async def test_its_route_answers(client):
    async with client:
        answer = await client.post("/api/v1/images/brighten", files={"file": GREY})

    assert answer.status_code == 200
    assert answer.json()["brightness"] == pytest.approx(0.2)
    assert set(answer.json()["timings_ms"]) == {"total"}


async def test_its_jobs_are_checked_run_kept_and_counted(bound):
    handler = bound["image_brightness"]

    good, bad = await handler.run([GREY, b"no image"], handler.check({}), lane=Lane.JOB)

    assert handler.keep(good, "jobs/1").result == {"brightness": pytest.approx(0.2)}
    assert handler.measure(good)["success"]
    assert isinstance(bad, UndecodableImage)


async def test_the_registry_lists_it(client):
    async with client:
        rows = (await client.get("/api/v1/operations")).json()["operations"]

    assert [each["route"] for each in rows if each["job_type"] == "image_brightness"] == [
        "POST /api/v1/images/brighten"
    ]


async def test_the_handle_has_a_method_for_it(operation, bound):
    holder = type("Holder", (), dict(handle_methods([operation])))()
    holder.operations = bound

    assert await holder.brighten_images(GREY) == pytest.approx(0.2)


def test_there_is_a_command_for_it(operation, app, tmp_path):
    (tmp_path / "grey.png").write_bytes(GREY)
    (tmp_path / "none.png").write_bytes(b"no image")
    command = commands_of("images", (*OPERATIONS, operation))

    with _served(app) as url:
        result = CliRunner().invoke(command, ["brighten", str(tmp_path), "--url", url])

    assert result.exit_code == 1
    by_name = {line["path"].rsplit("/")[-1]: line for line in map(json.loads, _lines(result))}
    assert by_name["grey.png"]["result"]["brightness"] == pytest.approx(0.2)
    assert by_name["none.png"]["error"]


def test_the_command_of_image_embedding_takes_its_parameters(app, tmp_path):
    (tmp_path / "one.png").write_bytes(b"faces:1")

    with _served(app) as url:
        arguments = ["images", "embed", str(tmp_path), "--url", url, "--encoding"]
        good = CliRunner().invoke(main.app, [*arguments, "base64"])
        bad = CliRunner().invoke(main.app, [*arguments, "hex"])

    [line] = map(json.loads, _lines(good))
    assert isinstance(line["result"]["embedding"]["values"], str)
    assert bad.exit_code == 2
    assert "--encoding" in bad.stderr


def _lines(result):
    return result.stdout.splitlines()


class _served:  # noqa: N801  reads as a verb
    """A server of ``app`` on this machine, for as long as the block runs."""

    def __init__(self, app):
        self.server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none")
        )
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.01)
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()
