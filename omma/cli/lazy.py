"""Groups of commands that are imported when one of their commands is wanted."""

import os
from collections.abc import Generator, Iterator, MutableMapping
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import Any

from typer.core import TyperGroup
from typer.main import get_group


class ImportedCommands(MutableMapping[str, Any]):
    """The commands of the ``app`` of a module, which is imported when they are looked at."""

    def __init__(self, module: str) -> None:
        self._module = module

    @cached_property
    def _commands(self) -> MutableMapping[str, Any]:
        with _no_plugins():
            return get_group(import_module(self._module).app).commands

    def __getitem__(self, name: str) -> Any:
        return self._commands[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)


@contextmanager
def _no_plugins() -> Generator[None]:
    """Spare pydantic the search of every installed package for plugins of its models."""
    name = "PYDANTIC_DISABLE_PLUGINS"
    before = os.environ.get(name)
    os.environ[name] = "__all__"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def group_of(module: str) -> type[TyperGroup]:
    """The class of a group whose commands are those of ``module``."""

    class ImportedGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = ImportedCommands(module)

    return ImportedGroup
