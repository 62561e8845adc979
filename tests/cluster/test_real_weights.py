"""What `make run` serves, as `make run` serves it: real weights behind config/local.yaml."""

import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deployments.sizes import DEFAULT
from omma.settings import Settings
from tests.hostile import hostile_files
from tests.servers import Server, until
from tests.weights import open_pack, runnable

pytestmark = [pytest.mark.cluster, pytest.mark.models, pytest.mark.timeout(900)]
FRIENDS = Path(importlib.util.find_spec("insightface").origin).parent / "data" / "images" / "t1.jpg"
EVERY = 10  # the unit suite decodes the others


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pack = open_pack()
    for model in (pack.detector, *pack.recognisers.values()):
        runnable(model)
    settings, home = Settings(), tmp_path_factory.mktemp("home")
    (home / "models").symlink_to(settings.models_dir.resolve())
    server = Server(home, settings.models_file.resolve())
    server.config = DEFAULT
    server.start()
    server.await_ready()
    yield server
    server.stop()
    server.close()


def test_a_photograph_of_six_friends_has_six_faces(server):
    url = f"{server.instance.url}/api/v1/faces/detect"

    answer = subprocess.run(  # noqa: S603
        ["curl", "--silent", "--noproxy", "*", "--form", f"file=@{FRIENDS}", url],  # noqa: S607
        capture_output=True, check=True,
    )  # fmt: skip

    assert len(json.loads(answer.stdout)["faces"]) == 6


def test_the_example_finds_the_six_through_a_handle(server):
    result = subprocess.run(  # noqa: S603
        [sys.executable, "examples/handle_call.py", FRIENDS],
        env=server.environment() | {"OMMA_HOME": str(server.home), "PYTHONPATH": "."},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "6 faces in" in result.stdout, result.stderr


def test_hostile_files_are_the_callers_fault(server):
    url = f"{server.instance.url}/api/v1/faces/embed"
    answers = {
        name: httpx.post(url, files={"file": data}, timeout=60, trust_env=False).status_code
        for name, data in itertools.islice(hostile_files(), 0, None, EVERY)
    }

    assert len(answers) == 30
    assert {name: code for name, code in answers.items() if code >= 500} == {}
    until(lambda: is_healthy(server))


def is_healthy(server):
    health = httpx.get(f"{server.instance.url}/health", timeout=60, trust_env=False)
    return health.json()["status"] == "healthy"
