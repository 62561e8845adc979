"""The `omma` command: what it is made of, imported only as far as a command line needs it."""

import os
from typing import Annotated

import typer

from omma.cli import server
from omma.cli.lazy import group_of
from omma.cli.paths import write_any_text
from omma.domain.hosts import unproxied

# Its module under omma.cli, and its help: the root's help and completion import no group.
GROUPS = {
    "models": "List, pull and verify the models."
    " Exit codes: 0 done; 1 a model is missing, corrupt, or could not be fetched or converted;"
    " 2 an unknown model or option, or an unreadable catalogue; 3 a licence was not accepted.",
    "faces": "Find and embed the faces of pictures.",
    "cards": "Recognise cards, look them up, correct answers.",
    "images": "Ask about images.",
    "jobs": "Ask for durable jobs and watch them.",
    "indexes": "Rebuild indexes, publish them, roll them back.",
    "db": "Migrate the database of the records."
    " Exit codes: 0 done; 1 the database does not answer;"
    " 2 wrong usage or settings, or a schema that this omma does not know.",
    "tokens": "Make keys, issue tokens, read them and revoke them.",
}

app = typer.Typer(
    help="Visual recognition as one Ray Serve graph.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they may hold images and tokens
)
for name, text in GROUPS.items():
    app.add_typer(
        typer.Typer(cls=group_of(f"omma.cli.{name}"), help=text, no_args_is_help=True), name=name
    )
app.command()(server.up)
app.command()(server.down)
app.command()(server.status)
app.command()(server.dashboard)


def _version(wanted: bool) -> None:  # noqa: FBT001  as Typer calls it
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  a quarter of what help takes

        typer.echo(f"omma {version('omma')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Visual recognition as one Ray Serve graph."""
    del show_version  # its callback has acted
    write_any_text()
    os.environ.update(unproxied(os.environ))


if __name__ == "__main__":
    app()
