"""Writes the pages of docs/reference that follow from the code: `make docs`.

A test compares them with what lies there, so they cannot fall behind.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from deployments.haproxy import PROBLEMS
from omma.api.access import IN_QUERY, Rule, rules_of
from omma.api.app import build_api
from omma.api.errors import STATUS
from omma.api.options import ApiOptions, Services
from omma.cli.main import app
from omma.domain.errors import OmmaError
from omma.environment import ALIASES, NATIVE, PLANNED, REFUSED
from omma.operations.declaring import Capabilities
from omma.operations.registry import OPERATIONS, bind, row
from omma.settings import Settings
from omma.stores.catalogue import Catalogue

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- Written by docs/generate.py: change the code, then run `make docs`. -->\n"
HIDDEN = {"install_completion", "show_completion"}  # options that every Typer command has


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    makers = (settings, environment, errors, models, operations, commands, access)
    return {f"{maker.__name__}.md": f"{MADE}\n{maker()}" for maker in makers}


def settings() -> str:
    """One table of all settings, in the order of `omma/settings.py`."""
    rows = [(f"`{path}`", f"`{_text(value)}`", why) for path, value, why in _leaves(Settings)]
    return (
        "# Settings\n\n"
        "A setting `faces.min_score` is the variable `OMMA_FACES__MIN_SCORE`, or `min_score`"
        " under `faces` in the `args:` of a file in `config/`.\n"
        "The file wins over `OMMA_*` variables, these win over the"
        " [documented variables](environment.md), and all win over the defaults below.\n"
        "Unknown names are refused in files; a variable that sets nothing is told at the start,"
        " with the nearest that does.\n\n" + _table(("setting", "default", "meaning"), rows)
    )


def environment() -> str:
    """What became of every variable that the original services document."""
    filled = [
        (f"`{name}`", ", ".join(f"`{path}`" for path in alias.settings))
        for name, alias in sorted(ALIASES.items())
    ]
    return (
        "# Documented environment variables\n\n"
        "The services that omma replaces document these variables; they work under their own names"
        " here.\nAn `OMMA_*` variable wins over them: see [settings](settings.md).\n\n"
        f"## Read\n\n{_table(('variable', 'fills'), filled)}\n"
        f"## Read by others\n\n{_table(('variable', 'meaning'), _coded(NATIVE))}\n"
        "## Refused\n\nomma does not start while one of these is set, rather than ignore it.\n\n"
        f"{_table(('variable', 'why'), _coded(REFUSED))}\n"
        "## Not read yet\n\nThey configure features that are still to come, and have no effect.\n\n"
        f"{_table(('variable', 'feature'), _coded(PLANNED))}"
    )


def errors() -> str:
    """The codes of all errors, and the HTTP status of those that reach a client."""
    rows = [("`internal_error`", "500", "The server's own fault; its log says which.")]
    rows += [
        (f"`{error.code}`", _status(error), (inspect.getdoc(error) or "").replace("``", "`"))
        for error in _family(OmmaError)
        if error is not OmmaError
    ]
    return (
        "# Errors\n\n"
        "Every answer that is not a success is [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)\n"
        "`application/problem+json`: `type`, `title`, `status`, `detail`, `code`, `request_id`.\n"
        "`code` is stable; `detail` is for people and may change.\n"
        "What the framework refuses, such as an unknown path or method, has its HTTP name as the"
        " code: `not_found`, `method_not_allowed`.\n"
        "503 carries `Retry-After` in seconds.\n"
        f"HAProxy, in front of the replicas, answers for them by {_proxy_codes()}, without a"
        " `request_id`.\n"
        "What it cannot read as a request, or only in part, it answers itself with a page of HTML:"
        " 400, or 408.\n"
        "Rows without a status are told by the command and the log; should one meet a request, the"
        " answer is 500 `internal_error`.\n\n" + _table(("code", "status", "meaning"), rows)
    )


def models() -> str:
    """The catalogue: packs, then models."""
    catalogue = Catalogue.read(ROOT / "config" / "models.yaml")
    packs = [
        (
            f"`{name}`",
            f"`{pack.detector.name}`",
            ", ".join(f"{slot}: `{info.name}`" for slot, info in pack.recognisers.items()),
        )
        for name, pack in catalogue.packs.items()
    ]
    rows = [
        (
            f"`{model.name}`",
            model.slot,
            f"{model.size_bytes / 1e6:.1f}",
            f"`{model.source.scheme}:{model.source.package}`",
            model.licence.name,
            model.input,
        )
        for model in catalogue.models
    ]
    return (
        "# Models\n\n"
        "`config/models.yaml` lists every model with its source, its sha256 and its licence.\n"
        "A file whose hash differs is refused.\n"
        "A pack is a detector with the recognisers of its faces; `open` is served by default.\n\n"
        f"## Packs\n\n{_table(('pack', 'detector', 'recognisers by slot'), packs)}\n"
        "## Files\n\n"
        + _table(("model", "slot", "MB", "source", "licence as declared", "input"), rows)
    )


def operations() -> str:
    """Every operation with all that follows from its declaration, and its parameters."""
    rows = [
        (
            f"`{each.name}`",
            each.summary,
            f"`{each.route}`",
            f"`{each.command}`",
            f"`{each.handle_method}`",
            f"`{each.permission}`",
            f"`{each.entity}`, `{each.action}`",
        )
        for each in map(row, OPERATIONS)
    ]
    head = ("operation", "what it does", "route", "command", "handle method", "permission")
    page = (
        "# Operations\n\n"
        "An operation's name is its job type: `POST /job/{operation}`.\n"
        "`GET /api/v1/operations` lists them with their parameters as JSON Schema;"
        " [how to add one](../how-to/add-an-operation.md) takes a page.\n\n"
    )
    parts = [page + _table((*head, "recorded as"), rows)]
    for each in OPERATIONS:
        fields = [(f"`{name}`", _meaning(f)) for name, f in each.params.model_fields.items()]
        parts.append(
            f"## Parameters of `{each.name}`\n\n{_table(('parameter', 'meaning'), fields)}"
        )
    return "\n".join(parts)


def commands() -> str:
    """The help of `omma` and of every command below it."""
    parts = ["# The `omma` command\n"]
    for path, command in _commands("omma", get_command(app)):
        parts.append(
            "\n\n".join(filter(None, (f"## `{path}`", _help(command), _parameters(command))))
        )
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def access() -> str:
    """Every route of the application, what it asks for, and whose things it shows."""
    rows = [
        (each.method, f"`{each.path}`", _asked(each.rule), each.rule.owner)
        for each in rules_of(_routes_alone())
        if each.rule is not None  # the framework's own, which belong to the documentation
    ]
    return (
        "# Who may ask what\n\n"
        "With keys configured, every route but the public ones wants `Authorization: Bearer TOKEN`:"
        " see [tokens](../how-to/tokens.md).\n"
        "Without a token that is trusted the answer is 401, without the permission 403.\n"
        "Tokens with `is_admin` have every permission and see everybody's things.\n"
        "What one may not see answers as what does not exist: 404.\n"
        "`WS` is a WebSocket.\n"
        "The documentation is public: `/docs` with its files, `/openapi.json`.\n\n"
        + _table(("method", "path", "asks for", "whose things it shows or changes"), rows)
    )


def _routes_alone() -> FastAPI:
    """The application over nothing, to look at."""
    nothing: dict[str, Any] = dict.fromkeys(each.name for each in fields(Services))
    operations = bind(Capabilities(faces=cast("Any", None), images=cast("Any", None)))
    return build_api(Services(**{**nothing, "operations": operations}), ApiOptions())


def _asked(rule: Rule) -> str:
    if rule.is_public:
        return "nothing"
    asked = f"permission `{rule.permission}`" if rule.permission else "any token"
    asked = "a token with `is_admin`" if rule.admin else asked
    return f"{asked}, also as `?{IN_QUERY}=`" if rule.in_query else asked


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from _leaves(type(default), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", default, _meaning(field)


def _meaning(field: FieldInfo) -> str:
    if get_origin(field.annotation) is not Literal:
        return field.description or ""
    choices = ", ".join(f"`{each}`" for each in get_args(field.annotation))
    return f"{field.description or ''} One of {choices}.".strip()


def _text(value: Any) -> str:
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value)


def _coded(answers: Any) -> list[tuple[str, str]]:
    return [(f"`{name}`", why) for name, why in sorted(answers.items())]


def _family(error: type[OmmaError]) -> Iterator[type[OmmaError]]:
    yield error
    for child in error.__subclasses__():
        yield from _family(child)


def _proxy_codes() -> str:
    codes = [f"`{code}` ({status}: {detail})" for status, (code, _, detail, _) in PROBLEMS.items()]
    return ", ".join(codes)


def _status(error: type[OmmaError]) -> str:
    found = next((STATUS[cls] for cls in error.__mro__ if cls in STATUS), None)
    return str(found.value) if found else ""


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(f"{path} {name}", child)


def _help(command: Any) -> str:
    text = " ".join((command.help or "").split())
    return re.sub(r"(?<=\.) (?=[A-Z])", "\n", text)  # one sentence per line


def _parameters(command: Any) -> str:
    shown = [each for each in command.params if each.name not in HIDDEN]
    rows = [(f"`{_spelled(each)}`", _told(each)) for each in shown]
    return _table(("parameter", "meaning"), rows) if rows else ""


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        return " ".join((*parameter.opts, *parameter.secondary_opts))
    return parameter.metavar or parameter.name.upper()


def _told(parameter: Any) -> str:
    return " ".join((getattr(parameter, "help", None) or "").split())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)
