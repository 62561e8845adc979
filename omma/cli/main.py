"""The `omma` command."""

from importlib.metadata import version
from typing import Annotated

import typer

from omma.cli import cards, db, faces, indexes, jobs, models, operations, server, tokens

app = typer.Typer(
    help="Visual recognition as one Ray Serve graph.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they may hold images and tokens
)
app.add_typer(models.app, name="models")
app.add_typer(faces.app, name="faces")
app.add_typer(cards.app, name="cards")
operations.add_commands(app)
app.add_typer(jobs.app, name="jobs")
app.add_typer(indexes.app, name="indexes")
app.add_typer(db.app, name="db")
app.add_typer(tokens.app, name="tokens")
app.command()(server.up)
app.command()(server.down)
app.command()(server.status)
app.command()(server.dashboard)


def _version(wanted: bool) -> None:  # noqa: FBT001  as Typer calls it
    if wanted:
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


if __name__ == "__main__":
    app()
