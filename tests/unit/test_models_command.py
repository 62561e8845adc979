"""`omma models`: what it prints, what it asks, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from omma.cli import models
from tests.model_fakes import CONTENT, write_catalogue

ROOT = Path(__file__).parents[2]


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    path = tmp_path / "models.yaml"
    path.with_name("m.onnx").write_bytes(CONTENT)
    write_catalogue(path, CONTENT)
    monkeypatch.setenv("OMMA_HOME", str(tmp_path / "var"))
    monkeypatch.setenv("OMMA_MODELS_FILE", str(path))
    monkeypatch.setenv("OMMA_EMBEDDING__MODEL", "m")
    return path


@pytest.fixture
def omma(catalogue):
    assert catalogue.exists()

    def omma(*arguments, answer=None):
        return CliRunner().invoke(models.app, arguments, input=answer)

    return omma


def test_pull_says_beforehand_what_it_will_cost(omma):
    answer = omma("pull")

    assert answer.exit_code == 0
    announced, *_ = answer.stderr.splitlines()
    assert announced == "to download: 0.0 MB; disk: 0.0 MB"
    assert "pulled" in answer.stdout


def test_a_second_pull_says_that_there_is_nothing_to_do(omma):
    omma("pull")

    answer = omma("pull")

    assert (answer.exit_code, answer.stdout) == (0, "")
    assert "nothing to do" in answer.stderr


def test_list_as_json_says_how_far_every_model_is(omma):
    before = json.loads(omma("list", "--json").stdout)
    omma("pull")
    after = json.loads(omma("list", "--json").stdout)

    assert [(m["name"], m["state"], m["is_ready"]) for m in before] == [("m", "absent", False)]
    assert [(m["name"], m["state"], m["is_ready"]) for m in after] == [("m", "pulled", True)]


def test_list_shows_slot_licence_size_and_state(omma):
    answer = omma("list")

    assert {"m", "detection", "absent", "0.0", "MB", "MIT"} <= set(answer.stdout.split())


def test_verify_passes_whole_files_and_fails_changed_ones(omma, tmp_path):
    omma("pull")
    whole = omma("verify")
    [path] = (tmp_path / "var").rglob("original.onnx")
    path.write_bytes(CONTENT[::-1])
    changed = omma("verify", "--json")

    assert (whole.exit_code, whole.stdout) == (0, "m: whole\n")
    assert changed.exit_code == 1
    assert "expected sha256" in json.loads(changed.stdout)[0]["fault"]


def test_a_file_with_the_wrong_hash_is_refused(omma, catalogue):
    catalogue.with_name("m.onnx").write_bytes(CONTENT[::-1])

    answer = omma("pull")

    assert answer.exit_code == 1
    assert "expected sha256" in answer.stderr


def test_an_unknown_name_is_a_mistake_of_the_caller(omma):
    answer = omma("pull", "nobody")

    assert answer.exit_code == 2
    assert "nobody" in answer.stderr


def test_an_unreadable_catalogue_is_named(omma, catalogue):
    catalogue.write_text("models: [")

    answer = omma("list")

    assert answer.exit_code == 2
    assert "models.yaml" in answer.stderr


@pytest.fixture
def restricted(catalogue):
    write_catalogue(catalogue, CONTENT, licence="research")


@pytest.mark.usefixtures("restricted")
class TestLicence:
    def test_without_a_terminal_it_is_shown_and_refused(self, omma, tmp_path):
        answer = omma("pull")

        assert answer.exit_code == 3
        assert "You may only look." in answer.stderr
        assert "--accept-licence" in answer.stderr
        assert not (tmp_path / "var").exists()

    def test_it_can_be_accepted_beforehand(self, omma):
        answer = omma("pull", "--accept-licence")

        assert answer.exit_code == 0
        assert "You may only look." in answer.stderr

    @pytest.mark.parametrize(("answer", "exit_code"), [("y\n", 0), ("n\n", 3), ("\n", 3)])
    def test_on_a_terminal_it_is_asked_for(self, omma, monkeypatch, answer, exit_code):
        monkeypatch.setattr(models, "has_terminal", lambda: True)

        assert omma("pull", answer=answer).exit_code == exit_code


def test_a_pull_of_what_is_here_imports_nothing_heavy(omma):
    omma("pull")
    script = (
        "import sys; from omma.cli.models import app; app(['pull'], standalone_mode=False); "
        "print(*sys.modules)"
    )

    ended = subprocess.run(  # noqa: S603  our own script
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )

    heavy = {"ray", "numpy", "tensorflow", "onnx", "onnxruntime", "insightface", "cv2", "httpx"}
    assert not heavy & set(ended.stdout.split())


def test_profile_tells_where_the_time_of_a_model_goes(omma, catalogue):
    kernel = numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "kernel")
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["mapped"]),
        helper.make_node("Softmax", ["mapped"], ["output"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, "h", 32))
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [image], [output], [kernel])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    catalogue.with_name("m.onnx").write_bytes(model.SerializeToString())
    write_catalogue(catalogue, model.SerializeToString())
    omma("pull")

    rows = json.loads(omma("profile", "m", "--runs", "3", "--json").stdout)
    table = omma("profile", "m", "--runs", "3").stdout

    operators = {row["operator"]: row for row in rows}
    assert operators["Conv"]["nodes"] == operators["Softmax"]["nodes"] == 1
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert {"operator", "Conv", "Softmax", "100.0%"} <= set(table.split())


def test_profile_of_a_model_that_is_not_here_says_how_to_get_it(omma):
    answer = omma("profile", "m")

    assert answer.exit_code == 1
    assert "omma models pull" in answer.stderr


def test_a_home_that_cannot_be_made_is_one_line(omma, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OMMA_HOME", str(tmp_path / "file" / "home"))

    answer = omma("pull")

    assert answer.exit_code == 1
    [line] = answer.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path}/file/home/models")
    assert line.endswith(": Not a directory")


def test_settings_that_are_wrong_or_unknown_are_told(omma, monkeypatch):
    monkeypatch.setenv("OMMA_FACE__PACK", "open")
    told = omma("list")
    monkeypatch.setenv("OMMA_FACES__MIN_SCORE", "much")
    wrong = omma("list")

    assert "warning: OMMA_FACE__PACK sets nothing; OMMA_FACES__PACK would" in told.stderr
    assert (told.exit_code, wrong.exit_code) == (0, 2)
    assert "error: faces.min_score: " in wrong.stderr
