"""The schema's versions: where they lead, and that they are safe to start from everywhere."""

import asyncio
import logging
import shutil
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import column, insert, inspect, select, table, text, update
from sqlalchemy.exc import DBAPIError

from omma.domain.errors import CannotStart
from omma.domain.jobs import ImageRef, JobId, Submission
from omma.stores.records import migrations
from omma.stores.records.migrations import BASE, current, downgrade, revisions, upgrade
from omma.stores.records.rows import to_row
from omma.stores.records.tables import attempts, event_counter, jobs, metadata
from tests.databases import KINDS, opened
from tests.logged import messages

ON_BOTH = pytest.mark.parametrize("empty_url", KINDS, indirect=True)
CARDS = {
    "cards", "card_faces", "index_snapshots", "indexes", "index_servings", "corrections",
    "card_sessions",
}  # fmt: skip
VERSION = table("alembic_version", column("version_num"))
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = "{before}"


def upgrade():
    {upgrade}
"""
UPGRADE = """
import asyncio, sys
from omma.stores.records.database import Database
from omma.stores.records.migrations import upgrade

async def main():
    database = Database(sys.argv[1])
    await upgrade(database)
    await database.close()

asyncio.run(main())
"""


@pytest.fixture
async def empty(empty_url):
    async with opened(empty_url) as database:
        yield database


def run(program, url):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, url], capture_output=True, text=True, check=False
    )


async def tables_of(database):
    async with database.read() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def indexes_of(database):
    on_sqlite = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    on_postgres = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    async with database.read() as connection:
        rows = await connection.execute(text(on_sqlite if database.is_sqlite else on_postgres))
        return dict(rows.all())


async def set_revision(database, revision):
    async with database.write() as connection:
        await connection.execute(update(VERSION).values(version_num=revision))


def test_alembic_sees_one_line_of_versions_that_ends_where_we_say():
    config = Config()
    config.set_main_option("script_location", str(migrations.HERE))

    script = ScriptDirectory.from_config(config)

    assert script.get_heads() == [revisions()[-1]]
    assert [step.revision for step in script.walk_revisions()] == revisions()[::-1]


async def test_the_migrated_schema_is_the_declared_one(database):
    def differences(connection):
        defaults = not database.is_sqlite  # as SQLite tells of them, none is as it was declared
        options = {"compare_type": True, "compare_server_default": defaults}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []


@ON_BOTH
async def test_the_migrated_indexes_are_the_declared_ones_to_their_conditions(empty):
    await upgrade(empty)
    migrated = await indexes_of(empty)
    await downgrade(empty, BASE)

    async with empty.write() as connection:
        await connection.run_sync(metadata.create_all)

    assert migrated == await indexes_of(empty)
    assert len(migrated) >= sum(len(declared.indexes) for declared in metadata.tables.values())


@ON_BOTH
async def test_a_schema_steps_down_to_nothing_and_up_again(empty):
    await upgrade(empty)
    await downgrade(empty, BASE)
    below = await tables_of(empty)

    await upgrade(empty)

    assert below == {"alembic_version"}
    assert await tables_of(empty) == {"alembic_version", *metadata.tables}
    assert await current(empty) == revisions()[-1]


@ON_BOTH
async def test_the_event_counter_starts_with_its_one_row(empty):
    await upgrade(empty)

    async with empty.read() as connection:
        assert (await connection.execute(select(event_counter))).all() == [(1, 0)]


@ON_BOTH
async def test_a_database_without_tables_has_no_revision(empty):
    assert await current(empty) == BASE


@ON_BOTH
async def test_ten_tasks_that_start_together_migrate_once(empty_url, caplog):
    caplog.set_level("INFO", logger=migrations.__name__)

    async def start():
        async with opened(empty_url) as database:
            await upgrade(database)

    await asyncio.gather(*[start() for _ in range(10)])

    assert messages(caplog, migrations.__name__, logging.INFO) == ["migrated the database"]


@ON_BOTH
async def test_processes_that_start_together_migrate_once(empty, empty_url):
    runs = await asyncio.gather(*[asyncio.to_thread(run, UPGRADE, empty_url) for _ in range(5)])

    assert [(done.returncode, done.stderr) for done in runs] == [(0, "")] * 5
    assert await current(empty) == revisions()[-1]


@pytest.fixture
def next_version(tmp_path, monkeypatch):
    """Adds a version of the test's own after ours."""
    here = tmp_path / "records"
    shutil.copytree(migrations.HERE, here, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrations, "HERE", here)
    before = revisions()[-1]

    def add(upgrade):
        number = f"{int(before) + 1:04d}"
        text = NEXT.format(number=number, before=before, upgrade=upgrade)
        (here / "versions" / f"v{number}_next.py").write_text(text)
        return number

    return add


async def test_a_migration_that_fails_half_way_changes_nothing(database, next_version):
    before, tables = await current(database), await tables_of(database)
    next_version("op.create_table('half', sa.Column('id', sa.Integer)); op.drop_table('nowhere')")

    with pytest.raises(DBAPIError):
        await upgrade(database)

    assert (await current(database), await tables_of(database)) == (before, tables)


async def test_a_table_made_anew_keeps_the_rows_that_hang_on_it(database, next_version):
    job = to_row(Submission(JobId("a"), "face_detection", (ImageRef(url="u"),), "anna"), 0)
    attempt = {"job_id": "a", "attempt": 1, "runner": "r", "started_at": 0}
    async with database.write() as connection:
        await connection.execute(insert(jobs).values(job))
        await connection.execute(insert(attempts).values(attempt))
    number = next_version(
        "with op.batch_alter_table('jobs', recreate='always') as jobs:\n"
        "        jobs.alter_column('priority', type_=sa.BigInteger())"
        if database.is_sqlite
        else "op.alter_column('jobs', 'priority', type_=sa.BigInteger())"
    )

    await upgrade(database)

    async with database.read() as connection:
        kept = (await connection.execute(select(attempts.c.job_id))).all()
    assert (await current(database), kept) == (number, [("a",)])


CARD = "INSERT INTO cards VALUES ('c', 'opt', '{}', 'd', 'p', 0, NULL)"


@ON_BOTH
async def test_jobs_of_the_first_schema_outlive_the_cards_that_come_and_go(empty):
    await upgrade(empty)
    await downgrade(empty, "0001")
    job = to_row(Submission(JobId("a"), "face_detection", (ImageRef(url="u"),), "anna"), 0)
    async with empty.write() as connection:
        await connection.execute(insert(jobs).values(job))
    first = await tables_of(empty)

    await upgrade(empty)
    async with empty.write() as connection:
        await connection.execute(text(CARD))
        await connection.execute(
            text("INSERT INTO card_faces (card_id, face, image_key, data) VALUES ('c', 0, 'i', '')")
        )
    await downgrade(empty, "0001")

    async with empty.read() as connection:
        kept = (await connection.execute(select(jobs.c.job_id))).all()
    assert kept == [("a",)]
    assert await tables_of(empty) == first == {*metadata.tables, "alembic_version"} - CARDS


async def test_a_schema_newer_than_the_code_is_refused_with_what_to_do(database):
    await set_revision(database, "9999")

    with pytest.raises(CannotStart, match=r"is at 9999.* up to \d+: run the newer omma, or"):
        await upgrade(database)


def test_a_schema_of_today_needs_no_alembic(database_url):
    check = "await database.close(); assert 'alembic' not in sys.modules"

    done = run(UPGRADE.replace("await database.close()", check), database_url)

    assert (done.returncode, done.stderr) == (0, "")


async def test_stepping_back_to_what_there_never_was_is_refused(database):
    with pytest.raises(CannotStart, match="expected a revision among"):
        await downgrade(database, "4711")
