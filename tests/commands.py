"""What the command would say to command lines that nobody runs."""

import re

from typer.core import TyperGroup
from typer.main import get_command

from omma.cli.main import app

# Up to what the shell would do with the command: a pipe, a redirection, the background.
NAMED = re.compile(r"`(?:nohup )?(?:\.venv/bin/)?omma ([^`|>&]+?)(?: 2?[|>&][^`]*)?`")


def misfit(words):
    """What is wrong with these words after `omma`; empty where a command takes them."""
    command, left = get_command(app), list(words)
    while isinstance(command, TyperGroup) and left and left[0] in command.commands:
        command = command.commands[left.pop(0)]
    if isinstance(command, TyperGroup):
        return "" if left in (["--version"], ["--help"]) else f"no command: {' '.join(words)}"
    try:
        command.make_context(command.name, left)
    except Exception as error:  # noqa: BLE001  Typer's own have no public base
        # Files of examples are not here.
        return "" if "does not exist" in str(error) else repr(error)
    return ""
