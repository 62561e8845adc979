"""What commands that send pictures share: their options, and one run over all pictures."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from omma.cli.pictures import Picture, find_pictures
from omma.cli.runs import Ask, Line, Run, write_json
from omma.client import Client, ClientError, ServerUnreachable

SOME_FAILED, UNUSABLE = 1, 2
CONCURRENCY = 16  # keeps batches full: more than the server's largest, answered and under way

Params = TypeVar("Params", bound=BaseModel)
Result = TypeVar("Result")
Paths = Annotated[
    list[str], typer.Argument(metavar="PATH...", help="Files, folders (with all below) or globs.")
]
Url = Annotated[str, typer.Option(envvar="OMMA_URL", help="Where omma listens.")]
Token = Annotated[
    str, typer.Option(envvar="OMMA_TOKEN", help="Who asks.", show_default=False, show_envvar=True)
]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Pictures under way at once.")]


@dataclass(frozen=True, slots=True)
class Server:
    """Where a command asks, and as whom."""

    url: str
    token: str

    def client(self) -> Client:
        """A connection to it."""
        return Client(self.url, token=self.token)


def ask_server(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of ``work``; a refusal ends the command with a line that says why."""
    try:
        return asyncio.run(work)
    except ServerUnreachable as error:
        stop(f"{error}\nIs omma up? `omma up` starts it; --url or OMMA_URL says where it is.")
    except ClientError as error:
        stop(str(error))


def read_params(shape: type[Params], query: Mapping[str, object]) -> Params:
    """``query`` typed and checked; a mistake names its option."""
    try:
        return shape.model_validate(query)
    except ValidationError as error:
        fault = error.errors()[0]
        option = "--" + str(fault["loc"][0]).replace("_", "-")
        raise typer.BadParameter(f"{option}: {fault['msg']}") from None


def run(
    paths: Sequence[str],
    server: Server,
    ask_of: Callable[[Client], Ask],
    how: tuple[int, Path | None],
    write: Callable[[Line], None] = write_json,
) -> None:
    """Ask about every picture, and end the command with the exit code that says how it went."""
    try:
        pictures = find_pictures(paths)
    except FileNotFoundError as error:
        raise typer.BadParameter(f"no picture at {error.args[0]!r}") from None
    failed = ask_server(_over(pictures, server, lambda client: Run(ask_of(client), *how, write)))
    raise typer.Exit(SOME_FAILED if failed else 0)


async def _over(
    pictures: Sequence[Picture],
    server: Server,
    run_of: Callable[[Client], Run],
) -> int:
    async with server.client() as client:
        return await run_of(client).over(pictures)


def stop(message: str) -> NoReturn:
    """End the command: nothing could be done."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(UNUSABLE)
