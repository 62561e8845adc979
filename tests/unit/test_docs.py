import importlib.util
import re
import shlex
import sys

import pytest

from omma.cli.main import GROUPS
from tests.commands import NAMED, misfit
from tests.pages import BLOCK, PAGES, ROOT, name

LINK = re.compile(r"\]\((?!\w+:)([^)#]+)(?:#[^)]*)?\)")
CHECKED = {"bash", "json", "python", "yaml"}  # by test_docs_code.py
EXAMPLE = "images brighten PATH"  # of docs/how-to/add-an-operation.md, which has its own test
MISSING = "MissingParameter"  # prose may name a command without what it takes
OUTPUT = {"text"}  # of commands, and drawings


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_say_what_the_code_says(generate):
    for file, text in generate.pages().items():
        assert (generate.REFERENCE / file).read_text() == text, f"{file}: run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    text = BLOCK.sub("", page.read_text())

    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_that_prose_names_is_one(page):
    lines = [line.replace("...", "") for line in NAMED.findall(BLOCK.sub("", page.read_text()))]
    commands = [line for line in lines if line not in GROUPS and line != EXAMPLE]
    faults = {line: misfit(shlex.split(line)) for line in commands}

    assert {line: fault for line, fault in faults.items() if fault and MISSING not in fault} == {}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_prose_has_one_sentence_per_line(page):
    prose = re.sub(r"`[^`]*`", "", BLOCK.sub("", page.read_text()))
    lines = [line for line in prose.splitlines() if not line.lstrip().startswith(("|", "- ", "<!"))]

    assert [line for line in lines if re.search(r"[a-z)][.?!] [A-Z]", line)] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_of_a_kind_that_is_checked(page):
    kinds = {kind for _, kind, _, _ in BLOCK.findall(page.read_text())}

    assert kinds <= CHECKED | OUTPUT


def test_every_page_is_reached_from_the_index():
    index = ROOT / "docs" / "index.md"
    reached, waiting = set(), [index]
    while waiting:
        page = waiting.pop()
        if page.suffix == ".md" and page not in reached:
            reached.add(page)
            waiting += [(page.parent / link).resolve() for link in LINK.findall(page.read_text())]

    assert {page for page in PAGES if page.is_relative_to(index.parent)} <= reached


def test_python_is_what_the_pages_promise():
    promised = (ROOT / "pyproject.toml").read_text()

    assert 'requires-python = ">=3.11,<3.14"' in promised
    assert (3, 11) <= sys.version_info < (3, 14)
