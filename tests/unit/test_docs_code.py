import ast
import importlib
import importlib.util
import json
import re
import shlex
import socket
import threading
from pathlib import Path

import pytest
import uvicorn
import yaml
from pydantic import BaseModel

import omma.wire.cards
import omma.wire.events
import omma.wire.faces
import omma.wire.gateway
import omma.wire.images
import omma.wire.indexes
import omma.wire.jobs
import omma.wire.operations
import omma.wire.problems
import omma.wire.system
from omma.api.app import ApiOptions, build_api
from omma.environment import ALIASES
from omma.settings import Settings
from tests.commands import misfit
from tests.pages import ROOT, blocks
from tests.service_fakes import fake_services

HERE = "http://127.0.0.1:8000"
HTTP = re.compile(rf"{HERE}(/[^?]*)(?:\?(.*))?")
# Commands of the system and of Ray: nothing of ours to hold them against.
FOREIGN = {"cp", "docker", ".venv/bin/ray"}
WIRE = (
    omma.wire.cards,
    omma.wire.events,
    omma.wire.faces,
    omma.wire.gateway,
    omma.wire.images,
    omma.wire.indexes,
    omma.wire.jobs,
    omma.wire.operations,
    omma.wire.problems,
    omma.wire.system,
)


def command_lines():
    return [
        pytest.param(line, id=f"{block.id}:{number}")
        for block in blocks("bash")
        for number, line in enumerate(block.values[0].replace("\\\n", " ").splitlines())
        if line.strip()
    ]


@pytest.fixture(scope="module")
def api():
    return build_api(fake_services(), ApiOptions())


@pytest.fixture(scope="module")
def openapi(api):
    return api.openapi()


@pytest.fixture
def address(api):
    """Where a server answers with made-up faces."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(api, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


def check_module(name, words):
    """It, or a neighbour whose parser it imports, has these options."""
    source = source_of(name)
    neighbours = rf"^from ({name.rpartition('.')[0]}\.\w+) import .*_parser\b"
    sources = [source, *map(source_of, re.findall(neighbours, source, re.MULTILINE))]
    for option in words:
        if option.startswith("--"):
            assert any(f'"{option}"' in each for each in sources), option


def source_of(name):
    program = importlib.util.find_spec(name)
    assert program
    return Path(program.origin).read_text()


@pytest.mark.parametrize("line", command_lines())
def test_every_command_exists_with_its_options(line, openapi):
    words = shlex.split(line)
    while re.match(r"[A-Z_]+=", words[0]):
        check_variable(words.pop(0).partition("=")[0])
    match words:
        case ["make", *rest]:
            check_make(rest)
        case [".venv/bin/omma", *rest]:
            check_omma(rest)
        case [".venv/bin/python", "-m", module, *rest]:
            check_module(module, rest)
        case [".venv/bin/python", script, *_]:
            assert (ROOT / script).is_file()
        case ["curl", *rest]:
            check_curl(rest, openapi)
        case [program, *_]:
            assert program in FOREIGN


def check_variable(variable):
    """A documented variable, or a path into the settings."""
    if variable in ALIASES:
        return
    model = Settings
    for part in variable.removeprefix("OMMA_").lower().split("__"):
        assert part in model.model_fields, variable
        model = type(model.model_fields[part].get_default())


def check_make(words):
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        target, equals, value = word.partition("=")
        pattern = rf"^{target} *[?:]?=" if equals else rf"^{target}:"
        assert re.search(pattern, makefile, re.MULTILINE), word
        if target == "ARGS" and value.startswith("--p"):
            check_omma(["up", *shlex.split(value)])


def check_omma(words):
    assert misfit(words) == ""


def check_curl(words, openapi):
    addresses = [found for word in words if (found := HTTP.fullmatch(word))]
    assert len(addresses) == 1
    path, query = addresses[0].groups()
    sends = any(word in {"-F", "-d", "--data-binary"} for word in words)
    method = words[words.index("-X") + 1].lower() if "-X" in words else "get"
    operation = operation_at(path, "post" if sends else method, openapi)
    asked = {part.partition("=")[0] for part in (query or "").split("&") if part}
    assert asked <= {parameter["name"] for parameter in operation.get("parameters", [])}
    if "-F" in words:
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        fields = {words[at + 1].partition("=")[0] for at, w in enumerate(words) if w == "-F"}
        assert fields <= set(form["properties"])


def operation_at(path, method, openapi):
    """What answers there: a route of this very path, or one with names in place of some parts."""
    routes = {each: found[method] for each, found in openapi["paths"].items() if method in found}
    if path in routes:
        return routes[path]
    patterns = {re.sub(r"\{[^}]+\}", "[^/]+", each): each for each in routes}
    return next(routes[patterns[each]] for each in patterns if re.fullmatch(each, path))


@pytest.mark.parametrize(("text", "model"), blocks("json"))
def test_every_answer_has_the_shape_of_the_wire(text, model):
    shape = next(getattr(place, model) for place in WIRE if hasattr(place, model))
    assert issubclass(shape, BaseModel)

    answer = shape.model_validate(json.loads(text), extra="forbid")

    assert answer.model_dump(exclude_unset=True)


@pytest.mark.parametrize(("text", "_word"), blocks("yaml"))
def test_every_configuration_is_understood(text, _word):
    Settings(**yaml.safe_load(text))


@pytest.mark.parametrize(("text", "_word"), blocks("python"))
def test_every_program_is_python_and_its_imports_exist(text, _word):
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                assert all(importlib.util.find_spec(each.name) for each in names)
            case ast.ImportFrom(module=module, names=names) if module.startswith("omma"):
                assert all(hasattr(importlib.import_module(module), each.name) for each in names)
            case ast.ImportFrom(module=module):
                assert importlib.util.find_spec(module)


@pytest.mark.parametrize(
    ("text", "_word"),
    [
        block
        for block in blocks("python")
        if "serve" not in block.values[0] and block.values[1] != "Operation"  # has its own test
    ],
)
def test_every_program_runs(text, _word, address, tmp_path, monkeypatch, capsys):
    (tmp_path / "group.jpg").write_bytes(b"faces:3")
    monkeypatch.chdir(tmp_path)

    program = text.replace(HERE, address).replace("Client()", f"Client({address!r})")
    exec(compile(program, "<docs>", "exec"), {"__name__": "docs"})  # noqa: S102  our own pages

    assert capsys.readouterr().out


def test_the_example_compiles():
    path = ROOT / "examples" / "handle_call.py"

    compile(path.read_text(), str(path), "exec")
    assert "detect_faces" in dir(importlib.import_module("deployments.ingress").Ingress)
