"""The settings that a server of this machine would start with, for commands that work beside it."""

import os
from pathlib import Path
from typing import Any

import typer
import yaml
from pydantic import ValidationError

from omma.domain.errors import CannotStart
from omma.environment import without_meaning
from omma.settings import Settings

DEFAULT = Path(__file__).parents[2] / "config" / "local.yaml"  # what `omma up` reads


def configured(config: Path | None = None, home: Path | None = None) -> Settings:
    """Settings of ``config`` and of the environment; ``home`` wins over both."""
    args = _args(config or DEFAULT)
    if home is not None:
        args["home"] = home
    return _settings(args)


def of_environment() -> Settings:
    """Settings of the environment alone."""
    return _settings({})


def _settings(args: dict[str, Any]) -> Settings:
    for line in without_meaning(os.environ, Settings.variables()):
        typer.echo(f"warning: {line}", err=True)
    try:
        return Settings(**args)
    except ValidationError as error:
        raise CannotStart(_mistakes(error)) from None


def _args(path: Path) -> dict[str, Any]:
    try:
        [application] = yaml.safe_load(path.read_text())["applications"]
        return dict(application.get("args") or {})
    except OSError as error:
        raise CannotStart(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (yaml.YAMLError, AttributeError, TypeError, KeyError, ValueError):
        raise CannotStart(f"{str(path)!r} does not describe one application") from None


def _mistakes(error: ValidationError) -> str:
    """What is wrong where, without the values: they may be secret."""
    mistakes = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in mistakes)
