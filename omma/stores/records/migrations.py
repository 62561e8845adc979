"""The schema's versions: bringing a database to ours, once, however many processes start."""

import logging
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from omma.domain.errors import CannotStart
from omma.stores.records.database import Database

HERE = Path(__file__).parent
LOCK = 0x6F6D6D61  # "omma": the advisory lock's number
BASE = ""  # the revision of a database without tables

log = logging.getLogger(__name__)


def revisions() -> list[str]:
    """Every version of the schema, oldest first: the numbers that files are named by."""
    names = (path.name for path in (HERE / "versions").glob("v*_*.py"))
    return sorted(name.removeprefix("v").split("_")[0] for name in names)


async def current(database: Database) -> str:
    """The revision that the database's schema is at; `BASE` for none."""
    async with database.read() as connection:
        return await _revision(connection)


async def upgrade(database: Database) -> None:
    """Bring the schema to ours, or raise `CannotStart` where it is newer.

    Of processes that start together one migrates, and the others wait for it.
    """
    known = revisions()
    if _check(await current(database), known) == known[-1]:
        return
    async with database.migrate() as connection:
        await _lock(connection)
        before = _check(await _revision(connection), known)
        if before != known[-1]:
            await connection.run_sync(_alembic("upgrade", "head"))
            await _check_keys(connection)
            log.info("migrated the database", extra={"before": before, "after": known[-1]})


async def downgrade(database: Database, revision: str) -> None:
    """Step back to ``revision``, `BASE` for no tables at all; what later ones added is lost."""
    known = [BASE, *revisions()]
    if revision not in known:
        raise CannotStart(f"expected a revision among {', '.join(known[1:])}, got {revision!r}")
    async with database.migrate() as connection:
        await _lock(connection)
        before = _check(await _revision(connection), known)
        if known.index(revision) > known.index(before):
            raise CannotStart(f"the schema is at {before or 'no revision'}, below {revision}")
        await connection.run_sync(_alembic("downgrade", revision or "base"))
        await _check_keys(connection)
        log.info("stepped the database back", extra={"before": before, "after": revision})


async def revise(database: Database, message: str) -> Path:
    """Write the version that leads from the database's schema to the tables as declared."""
    number = f"{int(revisions()[-1]) + 1:04d}"
    before = set((HERE / "versions").iterdir())
    async with database.migrate() as connection:
        await connection.run_sync(
            _alembic("revision", message=message, autogenerate=True, rev_id=number)
        )
    [path] = {*(HERE / "versions").glob("*.py")} - before
    return path


def _check(revision: str, known: list[str]) -> str:
    if revision and revision not in known:
        raise CannotStart(
            f"the database's schema is at {revision}, this omma knows it up to {known[-1]}: "
            f"run the newer omma, or with it `omma db downgrade {known[-1]}` first"
        )
    return revision


async def _revision(connection: AsyncConnection) -> str:
    if not await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version")):
        return BASE
    return await connection.scalar(text("SELECT version_num FROM alembic_version")) or BASE


async def _lock(connection: AsyncConnection) -> None:
    """SQLite's transaction was begun as the only writer's; PostgreSQL's is made so."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(LOCK)))


def _alembic(command: str, *arguments: str, **options: Any) -> Callable[[Connection], None]:
    """One of Alembic's commands, to be run on a connection."""
    from alembic import command as commands  # noqa: PLC0415  slow, and seldom needed
    from alembic.config import Config  # noqa: PLC0415

    def run(connection: Connection) -> None:
        config = Config(attributes={"connection": connection}, cmd_opts=Namespace(quiet=True))
        config.set_main_option("script_location", str(HERE).replace("%", "%%"))
        config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
        getattr(commands, command)(config, *arguments, **options)

    return run


async def _check_keys(connection: AsyncConnection) -> None:
    """SQLite did not watch foreign keys while tables were remade."""
    if connection.dialect.name == "sqlite":
        broken = (await connection.exec_driver_sql("PRAGMA foreign_key_check")).all()
        if broken:
            raise CannotStart(f"the migration would leave {len(broken)} rows without their job")
