"""What commands that ask a server share: where it is, and one line where it refuses."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, NoReturn, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from omma.client.connection import Connection
from omma.client.errors import ClientError, ServerUnreachable

SOME_FAILED, UNUSABLE = 1, 2

Calls = TypeVar("Calls", bound=Connection)
Params = TypeVar("Params", bound=BaseModel)
Result = TypeVar("Result")
Url = Annotated[str, typer.Option(envvar="OMMA_URL", help="Where omma listens.")]
Token = Annotated[
    str, typer.Option(envvar="OMMA_TOKEN", help="Who asks.", show_default=False, show_envvar=True)
]


@dataclass(frozen=True, slots=True)
class Server:
    """Where a command asks, and as whom."""

    url: str
    token: str

    def ask(self, calls: type[Calls], work: Callable[[Calls], Awaitable[Result]]) -> Result:
        """The result of ``work``; a refusal ends the command with a line that says why."""
        try:
            return asyncio.run(self._connected(calls, work))
        except ServerUnreachable as error:
            stop(f"{error}\nIs omma up? `omma up` starts it; --url or OMMA_URL says where it is.")
        except ClientError as error:
            stop(str(error))

    async def _connected(
        self, calls: type[Calls], work: Callable[[Calls], Awaitable[Result]]
    ) -> Result:
        async with calls(self.url, token=self.token) as client:
            return await work(client)


def read_params(shape: type[Params], query: Mapping[str, object]) -> Params:
    """``query`` typed and checked; a mistake names its option."""
    try:
        return shape.model_validate(query)
    except ValidationError as error:
        fault = error.errors()[0]
        option = "--" + str(fault["loc"][0]).replace("_", "-")
        raise typer.BadParameter(f"{option}: {fault['msg']}") from None


def stop(message: str) -> NoReturn:
    """End the command: nothing could be done."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(UNUSABLE)
