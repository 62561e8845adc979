"""`omma db`: the schema of the records, as the settings' database has it."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from omma.cli.configured import configured
from omma.cli.paths import shown
from omma.domain.errors import CannotStart, StoreUnavailable
from omma.stores.records import migrations
from omma.stores.records.database import Database

UNREACHABLE, REFUSED = 1, 2

Config = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="Whose database. [default: config/local.yaml]"),
]
Home = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="All state lies there. [default: OMMA_HOME, or var]"),
]
Work = Callable[[Database], Awaitable[None]]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]

app = typer.Typer()


@app.command()
def upgrade(*, config: Config = None, home: Home = None) -> None:
    """Bring the schema to the newest revision; a server does so as it starts."""

    async def work(database: Database) -> None:
        before = await migrations.current(database)
        await migrations.upgrade(database)
        after = await migrations.current(database)
        if before == after:
            typer.echo(f"{database.place} is at {after} already: nothing to do")
        else:
            typer.echo(f"migrated {database.place} from {_named(before)} to {after}")

    _run(config, home, work)


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="A number, or `base` to remove every table.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
    home: Home = None,
) -> None:
    """Step the schema back; what later revisions recorded is lost. Stop the server first."""

    async def work(database: Database) -> None:
        before = await migrations.current(database)
        if not (yes or _agrees(f"Remove what was recorded since {revision}?")):
            raise CannotStart("nothing was changed: pass --yes to lose what was recorded since")
        await migrations.downgrade(database, "" if revision == "base" else revision)
        typer.echo(f"stepped {database.place} back from {_named(before)} to {revision}")

    _run(config, home, work)


@app.command()
def revision(
    message: Annotated[str, typer.Option("--message", "-m", help="What it is for.")],
    *,
    config: Config = None,
    home: Home = None,
) -> None:
    """Write the next revision: what leads from the database's schema to the declared tables."""

    async def work(database: Database) -> None:
        typer.echo(await migrations.revise(database, message))

    _run(config, home, work)


@app.command()
def current(*, as_json: AsJson = False, config: Config = None, home: Home = None) -> None:
    """Say which revision the schema is at, and which is the newest."""

    async def work(database: Database) -> None:
        now, newest = await migrations.current(database), migrations.revisions()[-1]
        if as_json:
            state = {"database": shown(database.place), "revision": now, "newest": newest}
            typer.echo(json.dumps(state, indent=2))
        else:
            typer.echo(f"{database.place} is at {_named(now)}, the newest is {newest}")

    _run(config, home, work)


def _run(config: Path | None, home: Path | None, work: Work) -> None:
    """Let ``work`` have the settings' database; every fault is one line."""
    try:
        asyncio.run(_with_database(config, home, work))
    except StoreUnavailable as error:
        _fail(str(error), UNREACHABLE)
    except CannotStart as error:
        _fail(str(error), REFUSED)


async def _with_database(config: Path | None, home: Path | None, work: Work) -> None:
    settings = configured(config, home)
    database = Database(settings.database_url, timeout_s=settings.database.timeout_s)
    try:
        await work(database)
    finally:
        await database.close()


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def _named(revision: str) -> str:
    return revision or "no revision"


def _agrees(question: str) -> bool:
    """Ask, where somebody can answer."""
    return sys.stdin.isatty() and typer.confirm(question, default=False, err=True)
