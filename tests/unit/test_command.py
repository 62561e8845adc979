"""The command as a whole: what it is made of, and what of it is imported when."""

import ast
import os
import re
import shlex
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from omma.cli.main import app
from omma.operations.registry import OPERATIONS
from tests.commands import NAMED, misfit
from tests.pages import ROOT

ROOTS = {
    *("omma", "omma.domain", "omma.domain.hosts", "omma.cli", "omma.cli.lazy", "omma.cli.main"),
    *("omma.cli.paths", "omma.cli.server"),
}
HEAVY = {
    *("PIL", "alembic", "cv2", "faiss", "fastapi", "h5py", "insightface", "numpy", "obstore"),
    *("onnxruntime", "pydantic_settings", "ray", "redis", "scipy", "sqlalchemy", "yaml"),
}
REPORT = """
import atexit, sys
atexit.register(lambda: print("\\nimported", *sys.modules))
from omma.cli.main import app
app(prog_name="omma")
"""
COMPLETION = {"_OMMA_COMPLETE": "complete_bash", "COMP_CWORD": "1"}


def started(*arguments, **environ):
    """What the command said, and the names of the modules that it had imported at its end."""
    ended = subprocess.run(  # noqa: S603  our own script
        [sys.executable, "-c", REPORT, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        check=False,
    )
    said, _, modules = ended.stdout.rpartition("imported ")
    return said, set(modules.split())


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["--version"], {}, "omma "),
        (["--help"], {}, "Usage"),
        ([], {**COMPLETION, "COMP_WORDS": "omma jo"}, "jobs"),
    ],
    ids=["version", "help", "completion"],
)
def test_what_names_no_group_imports_none(arguments, environ, says):
    said, modules = started(*arguments, **environ)

    assert says in said
    assert {each for each in modules if each.split(".")[0] == "omma"} == ROOTS
    assert not (HEAVY | {"httpx"}) & modules


def test_listing_jobs_imports_neither_models_nor_stores_nor_settings():
    said, modules = started("jobs", "list", "--url", "http://127.0.0.1:1")

    assert "omma.client.jobs" in modules, said
    assert not HEAVY & modules
    assert {each for each in modules if re.match(r"omma\.(api|engines|services|stores)", each)} == (
        set()
    )


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.answer], ids=lambda each: each.name
)
def test_every_operation_with_an_answer_of_its_own_has_its_command(operation):
    answer = CliRunner().invoke(app, [operation.noun, operation.verb, "--help"])

    assert operation.summary in " ".join(answer.stdout.split())


def named_by_messages():
    """Every command that a string of the product names, and where; docstrings are no messages."""
    found = {
        f"{path.relative_to(ROOT)}: {line}": line
        for path in sorted([*ROOT.glob("omma/**/*.py"), *ROOT.glob("deployments/*.py")])
        for node in ast.walk(ast.parse(path.read_text()))
        if not isinstance(node, ast.Expr)
        for child in ast.iter_child_nodes(node)
        for line in NAMED.findall(text_of(child))
    }
    return [pytest.param(line, id=place) for place, line in found.items()]


def text_of(node):
    """A string, with a word in the place of each of its values."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(each) or "cards" for each in values)
    return ""


def test_messages_are_found():
    assert {"up", "models pull", "tokens keygen FOLDER"} <= {
        each.values[0] for each in named_by_messages()
    }


@pytest.mark.parametrize("line", named_by_messages())
def test_every_command_that_a_message_names_is_one(line):
    assert misfit(shlex.split(line)) == ""


def test_a_command_that_is_none_is_noticed():
    assert misfit(["indexes", "rebuild"])
    assert misfit(["indexes", "rebuild", "cards", "more"])
    assert misfit(["indexes"])
    assert misfit(["jobs", "list", "--of"])
