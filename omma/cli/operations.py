"""`omma {noun} {verb}` for every operation that no contract documents, from its declaration."""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from inspect import Parameter, Signature
from typing import Annotated, Any, get_type_hints

import typer
from pydantic.fields import FieldInfo

from omma.cli.asking import Server, Token, Url, read_params
from omma.cli.runs import CONCURRENCY, Concurrency, Paths, run
from omma.client.connection import DEFAULT_URL
from omma.client.images import ImageCalls
from omma.operations.declaring import Operation
from omma.operations.registry import OPERATIONS

PLAIN = (bool, int, float)  # whatever else is written as text, and checked by the parameters


def commands_of(noun: str, operations: Iterable[Operation[Any, Any]] = OPERATIONS) -> typer.Typer:
    """The commands below ``noun``, one an operation."""
    app = typer.Typer()
    for operation in operations:
        if operation.answer is not None and operation.noun == noun:
            app.command(operation.verb, help=_help(operation))(_command(operation))
    return app


def _help(operation: Operation[Any, Any]) -> str:
    return f"{operation.summary} One JSON line a picture."


def _command(operation: Operation[Any, Any]) -> Callable[..., None]:
    shape = get_type_hints(operation.answer)["return"]

    def command(paths: list[str], *, url: str, token: str, concurrency: int, **query: Any) -> None:
        given = {name: value for name, value in query.items() if value is not None}
        params = read_params(operation.params, given)
        run(
            paths,
            (Server(url, token), ImageCalls),
            lambda client: partial(
                client.run_operation, operation.path, params=params, shape=shape
            ),
            (concurrency, None),
        )

    parameters = _parameters(operation)
    # Typer reads the options off the signature and their types off the annotations.
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    setattr(command, "__signature__", Signature(parameters))  # noqa: B010  inspect's own name
    return command


def _parameters(operation: Operation[Any, Any]) -> list[Parameter]:
    common = [
        Parameter("paths", Parameter.POSITIONAL_OR_KEYWORD, annotation=Paths),
        Parameter("url", Parameter.KEYWORD_ONLY, default=DEFAULT_URL, annotation=Url),
        Parameter("token", Parameter.KEYWORD_ONLY, default="", annotation=Token),
        Parameter(
            "concurrency", Parameter.KEYWORD_ONLY, default=CONCURRENCY, annotation=Concurrency
        ),
    ]
    fields: dict[str, FieldInfo] = operation.params.model_fields
    return [*common, *(_option(name, field) for name, field in fields.items())]


def _option(name: str, field: FieldInfo) -> Parameter:
    """None stands for the parameters' own default."""
    kind = field.annotation if inspect.isclass(field.annotation) else str
    kind = kind if kind in PLAIN else str
    told = typer.Option(help=field.description, show_default=False)
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, told]
    )
