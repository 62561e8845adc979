"""Fresh databases of both kinds, each a copy of one that was migrated."""

import asyncio
import contextlib
import itertools
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from omma.stores.records.database import Database
from omma.stores.records.migrations import revisions, upgrade
from omma.stores.records.tables import metadata
from tests.postgres import Postgres

KINDS = ["sqlite", "postgresql"]
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
NOT_OURS = "OMMA_TEST_POSTGRES" in os.environ  # ours ends with the tests, and all in it
numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres():
    """The URL of a server where databases may be created: one for all tests of this process."""
    if url := os.environ.get("OMMA_TEST_POSTGRES"):
        yield url
        return
    with contextlib.closing(Postgres()) as server:
        yield server.url


@pytest.fixture(scope="session")
def postgres_template(postgres):
    with empty_postgres(postgres, "template", drop=NOT_OURS) as url:
        run(_migrate(url))
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "omma.db"
    run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path):
    """A migrated SQLite database of the test's own."""
    path = tmp_path / f"omma-{next(numbers)}.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def postgres_pool(postgres, postgres_template):
    """Databases that tests have left: to empty one is much faster than to make one."""
    with contextlib.ExitStack() as stack:
        yield Pool(stack, postgres, postgres_template)


@pytest.fixture
def postgres_url(postgres_pool):
    """A migrated PostgreSQL database of the test's own."""
    url = postgres_pool.take()
    yield url
    postgres_pool.give(url)


@pytest.fixture(params=KINDS)
def database_url(request):
    """Of both kinds in turn."""
    return request.getfixturevalue(f"{request.param.removesuffix('ql')}_url")


@pytest.fixture
async def sqlite_database(sqlite_url):
    async with opened(sqlite_url) as database:
        yield database


@pytest.fixture
async def postgres_database(postgres_url):
    async with opened(postgres_url) as database:
        yield database


@pytest.fixture
async def database(database_url):
    """Migrated, without a row but the counter's; of both kinds in turn."""
    async with opened(database_url) as database:
        yield database


@dataclass
class Clock:
    """The database's clock, in the tests' hands."""

    now_ms: int = 1_700_000_000_000

    def __call__(self):
        return self.now_ms

    def advance(self, seconds):
        self.now_ms += round(seconds * 1000)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def timed_database(database_url, clock):
    """As `database`, by the test's `clock`."""
    async with opened(database_url, clock=clock) as database:
        yield database


@pytest.fixture
def empty_url(request):
    """Of an indirect parameter's kind: a database without a single table."""
    if request.param == "sqlite":
        yield f"sqlite:///{request.getfixturevalue('tmp_path') / f'empty-{next(numbers)}.db'}"
        return
    with empty_postgres(request.getfixturevalue("postgres"), "empty") as url:
        yield url


@dataclass
class Pool:
    """Databases like the template, without a row but its own; they end with the stack."""

    stack: contextlib.ExitStack
    server_url: str
    template_url: str
    free: list = field(default_factory=list)

    def take(self):
        if self.free:
            return self.free.pop()
        made = empty_postgres(self.server_url, "test", self.template_url, drop=NOT_OURS)
        return self.stack.enter_context(made)

    def give(self, url):
        """Keep it for another test, unless this one has changed more than rows."""
        if run(_clean(url)):
            self.free.append(url)


@contextlib.asynccontextmanager
async def opened(url, **options):
    database = Database(url, **options)
    try:
        yield database
    finally:
        await database.close()


@contextlib.contextmanager
def empty_postgres(server_url, name, template_url=None, *, drop=True):
    """A database of its own beside that of ``server_url``, or a copy of a template."""
    name = f"omma_{name}_{os.getpid()}_{next(numbers)}"
    template = make_url(template_url).database if template_url else "template1"
    run(_execute(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        if drop:
            run(_execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


def run(coroutine):
    """Run it in a loop beside the test's own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def _clean(url):
    """Whether the database could be made what its template is."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(END_OTHERS)
        tables = {row[0] for row in await connection.fetch(TABLES)}
        if tables != {"alembic_version", *metadata.tables}:
            return False
        if await connection.fetchval("SELECT version_num FROM alembic_version") != revisions()[-1]:
            return False
        named = ", ".join(f'"{name}"' for name in metadata.tables)
        await connection.execute(f"TRUNCATE {named} RESTART IDENTITY CASCADE")
        await connection.execute("INSERT INTO event_counter (id, seq) VALUES (1, 0)")
    finally:
        await connection.close()
    return True


async def _execute(url, statement):
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _migrate(url):
    async with opened(url) as database:
        await upgrade(database)
