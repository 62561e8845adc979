"""The pages of the documentation, and the blocks of code in them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(\S*)(?: (\S+))?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def name(page):
    return str(page.relative_to(ROOT))


def blocks(language):
    """Every block of ``language`` with the word behind it, for `parametrize`."""
    found = []
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text()):
            indent, kind, word, text = match.groups()
            if kind == language:
                line = page.read_text()[: match.start()].count("\n") + 1
                code = text.replace(f"\n{indent}", "\n").removeprefix(indent)
                found.append(pytest.param(code, word, id=f"{name(page)}:{line}"))
    return found
