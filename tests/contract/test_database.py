"""What the door to SQL promises, on both databases, when things go wrong above all."""

import asyncio
import contextlib
import errno
import os
import random
import signal
import stat
import statistics
import subprocess
import sys
import time

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from omma.domain.errors import CannotStart, StoreFull, StoreUnavailable
from omma.stores.records.database import Database
from omma.stores.records.engines import parse_url
from omma.stores.records.migrations import upgrade
from omma.stores.records.tables import event_counter, leases
from tests.databases import opened, run
from tests.postgres import Postgres

COUNT_UP = update(event_counter).values(seq=event_counter.c.seq + 1)
WRITE_MANY = """
import asyncio, sys
from sqlalchemy import update
from omma.stores.records.database import Database
from omma.stores.records.tables import event_counter

async def main():
    database = Database(sys.argv[1], timeout_s=60)

    async def write():
        async with database.write() as connection:
            await connection.execute(update(event_counter).values(seq=event_counter.c.seq + 1))

    await asyncio.gather(*[write() for _ in range(200)])
    await database.close()

asyncio.run(main())
"""
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


async def count_up(database, *, amid=None, last=None):
    """Write, and where something is to happen ``amid`` it, twice."""
    async with database.write() as connection:
        await connection.execute(COUNT_UP)
        if amid is not None:
            await amid
            await connection.execute(COUNT_UP)
        if last is not None:
            await last


async def count(database):
    async with database.read() as connection:
        return await connection.scalar(select(event_counter.c.seq))


async def test_what_was_written_is_read(database):
    async with database.write() as connection:
        await connection.execute(insert(leases).values(name="n", holder="h", until=database.now))

    async with database.read() as connection:
        [row] = (await connection.execute(select(leases))).all()

    assert (row.name, row.holder) == ("n", "h")
    assert abs(row.until - time.time() * 1000) < 60_000


async def test_a_transaction_that_fails_leaves_nothing(database):
    with contextlib.suppress(KeyError):
        async with database.write() as connection:
            await connection.execute(COUNT_UP)
            raise KeyError

    assert await count(database) == 0


async def test_the_clock_is_the_tests_where_they_bring_one(timed_database, clock):
    clock.advance(5)

    async with timed_database.read() as connection:
        assert await connection.scalar(select(timed_database.now)) == clock()


async def test_who_only_reads_cannot_write(database):
    with pytest.raises((DBAPIError, StoreUnavailable)):
        async with database.read() as connection:
            await connection.execute(COUNT_UP)

    assert await count(database) == 0


async def test_a_mistake_of_ours_stays_what_it_is(database):
    with pytest.raises(DBAPIError):
        async with database.read() as connection:
            await connection.execute(text("SELECT nonsense FROM nowhere"))


async def test_a_row_that_is_there_already_stays_what_it_is(database):
    row = insert(leases).values(name="n", holder="h", until=1)

    async with database.write() as connection:
        await connection.execute(row)

    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(row)


# Spellings


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("postgres://me@there/omma", "postgresql+asyncpg://me@there/omma"),
        ("postgresql+psycopg2://me@there:1/omma", "postgresql+asyncpg://me@there:1/omma"),
        ("postgresql://me@/omma?host=/run/pg", "postgresql+asyncpg://me@/omma?host=%2Frun%2Fpg"),
        ("sqlite:////var/omma.db", "sqlite+aiosqlite:////var/omma.db"),
        ("sqlite+pysqlite:////var/omma.db", "sqlite+aiosqlite:////var/omma.db"),
    ],
)
def test_urls_are_read_as_other_programs_spell_them(text, spelled):
    assert parse_url(text).render_as_string(hide_password=False) == spelled


def test_a_relative_file_stays_where_it_is_when_the_working_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert parse_url("sqlite:///omma.db").database == str(tmp_path / "omma.db")


@pytest.mark.parametrize(
    "text",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?uri=true", "mysql://x/y", "omma.db", ""],
)
def test_what_is_no_database_of_ours_is_refused(text):
    with pytest.raises(CannotStart, match="expected"):
        parse_url(text)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
async def test_a_server_is_reached_by_its_socket_with_the_options_of_libpq(postgres_url, scheme):
    url = postgres_url.replace("postgresql", scheme, 1)

    async with opened(f"{url}&sslmode=prefer&connect_timeout=3") as database:
        assert await count(database) == 0


# Trouble


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/omma", "connection refused"),
        ("postgresql://me:s3cret@/omma?host=/nowhere", "no such file"),
        ("sqlite:////proc/omma.db", "no such file"),
        ("sqlite:////proc", "is a directory"),
    ],
)
async def test_a_database_that_is_not_there_is_unavailable(url, why):
    async with opened(url) as database:
        with pytest.raises(StoreUnavailable, match=why) as error:
            await count(database)

    assert "s3cret" not in str(error.value)


async def test_a_file_that_is_no_database_is_unavailable(tmp_path):
    path = tmp_path / "omma.db"
    path.write_bytes(b"not a database" * 1000)

    async with opened(f"sqlite:///{path}") as database:
        with pytest.raises(StoreUnavailable, match="file is not a database"):
            await count(database)


async def test_who_finds_every_connection_in_use_waits_no_longer_than_told(database_url):
    async with opened(database_url, pool_size=1, timeout_s=1) as database:
        async with database.write():
            with pytest.raises(StoreUnavailable, match="every connection is in use"):
                await count_up(database)

        await count_up(database)


async def test_a_full_disk_is_said_to_be_full_and_is_well_again(sqlite_url):
    async with opened(sqlite_url) as database:
        async with database.write() as connection:
            await connection.exec_driver_sql("PRAGMA max_page_count = 1")
        with pytest.raises(StoreFull, match="no room left"):
            await fill(database)

        async with database.write() as connection:
            await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")

        await fill(database)


async def fill(database):
    rows = [{"name": f"{n}" * 50, "holder": "h", "until": 1} for n in range(1000)]
    async with database.write() as connection:
        await connection.execute(insert(leases), rows)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("53100", StoreFull),
        ("53300", StoreUnavailable),
        ("40P01", StoreUnavailable),
        ("55P03", StoreUnavailable),
        ("57P01", StoreUnavailable),
        ("25006", StoreUnavailable),
        ("22012", DBAPIError),
    ],
)
async def test_states_of_postgresql_are_its_trouble_or_our_mistake(postgres_database, state, error):
    fail = f"DO $$ BEGIN RAISE EXCEPTION 'it says so' USING ERRCODE = '{state}'; END $$"

    with pytest.raises(error):
        async with postgres_database.write() as connection:
            await connection.exec_driver_sql(fail)


@pytest.fixture
def server():
    """A PostgreSQL of the test's own, to be stopped."""
    with contextlib.closing(Postgres()) as server:
        run(migrated(server.url))
        yield server


async def migrated(url):
    async with opened(url) as database:
        await upgrade(database)


async def test_a_server_that_stops_amid_everything_and_comes_back_is_used_again(server):
    async with opened(server.url, timeout_s=2) as database:
        await asyncio.gather(*[count_up(database) for _ in range(5)])

        with pytest.raises(StoreUnavailable):
            await count_up(database, amid=asyncio.to_thread(server.stop))
        for use in (count_up, count, Database.changes):
            with pytest.raises(StoreUnavailable):
                await use(database)
        await asyncio.to_thread(server.start)

        await count_up(database)
        assert await count(database) == 6
        assert await database.changes() == 6


async def test_a_server_that_stops_before_the_commit_has_committed_nothing(server):
    async with opened(server.url, timeout_s=2) as database:
        with pytest.raises(StoreUnavailable):
            await count_up(database, last=asyncio.to_thread(server.stop))
        await asyncio.to_thread(server.start)

        assert await count(database) == 0


async def test_a_server_that_hangs_is_waited_for_no_longer_than_told(server):
    async with opened(server.url, timeout_s=1) as database:
        async with database.read() as connection:
            backend = await connection.scalar(select(func.pg_backend_pid()))
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="no answer in time"):
                await asyncio.wait_for(count(database), 30)
            await count_up(database)  # by another connection
        finally:
            os.kill(backend, signal.SIGCONT)


async def test_who_pauses_within_a_transaction_does_not_hold_up_the_others(postgres_url):
    async with opened(postgres_url, timeout_s=1) as paused, opened(postgres_url) as other:
        with pytest.raises(StoreUnavailable):
            await count_up(paused, amid=count_up(other))

        assert await count(other) == 1
        await count_up(paused)


# Another process that writes


@contextlib.contextmanager
def held(url):
    """Another process' write transaction, until it is told to commit."""
    command = [sys.executable, "-c", HOLD, url.removeprefix("sqlite:///")]
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        yield lambda: process.communicate("go\n")
        if process.poll() is None:
            process.communicate("go\n")


async def test_who_writes_while_another_process_does_waits_for_it(sqlite_url):
    async with opened(sqlite_url) as database:
        with held(sqlite_url) as let_go:
            waiting = asyncio.create_task(count_up(database))
            assert await count(database) == 0  # nobody who reads waits
            assert not waiting.done()
            await asyncio.to_thread(let_go)
            await waiting

        assert await count(database) == 1


async def test_a_writer_that_holds_on_too_long_is_trouble_and_then_over(sqlite_url):
    async with opened(sqlite_url, timeout_s=0.2) as database:
        with held(sqlite_url) as let_go:
            with pytest.raises(StoreUnavailable, match="database is locked"):
                await count_up(database)
            await asyncio.to_thread(let_go)

        await count_up(database)


async def test_a_task_cancelled_while_it_waits_for_another_process_leaves_no_lock(sqlite_url):
    async with opened(sqlite_url, timeout_s=1) as database:
        with held(sqlite_url) as let_go:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await count_up(database)
            await asyncio.to_thread(let_go)

        async with opened(sqlite_url, timeout_s=5) as other:
            await count_up(other)
        await count_up(database)
        assert await count(database) == 2


def test_four_processes_that_write_side_by_side_lose_nothing(database_url):
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITE_MANY, database_url])  # noqa: S603
        for _ in range(4)
    ]

    assert [process.wait() for process in processes] == [0] * 4
    assert run(counted(database_url)) == 800


async def counted(url):
    async with opened(url) as database:
        return await count(database)


# Cancellation


async def test_a_task_cancelled_amid_its_transaction_rolls_back(database):
    begun = asyncio.Event()

    async def begin():
        async with database.write() as connection:
            await connection.execute(COUNT_UP)
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(begin())
    await begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count(database) == 0
    await count_up(database)


async def test_tasks_cancelled_at_any_moment_leave_the_database_as_good_as_new(database):
    done, room = [], asyncio.Semaphore(8)
    chance = random.Random(7)  # noqa: S311
    began = time.monotonic()
    for _ in range(8):
        await count_up(database)
    patience_s = time.monotonic() - began  # as long as it takes them all on this machine

    async def write(number):
        async with database.write() as connection:
            await connection.execute(insert(leases).values(name=number, holder="h", until=1))
            await connection.execute(COUNT_UP)
        done.append(number)

    async def write_and_cancel(number):
        async with room:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.expovariate(1 / patience_s)):
                    await write(str(number))

    await asyncio.gather(*[write_and_cancel(number) for number in range(300)])

    async with database.write() as connection:
        names = set(await connection.scalars(select(leases.c.name)))
        total = await connection.scalar(select(event_counter.c.seq))
    assert 0 < len(done) < 300
    assert names >= set(done)
    assert total == len(names) + 8  # each wrote both or neither


async def test_whoever_is_cancelled_the_next_write_of_anybody_works_at_once(database, database_url):
    """Also while somebody still has the error in hand, and with it all that it touched."""
    errors, chance = [], random.Random(11)  # noqa: S311
    warm = [await timed(write_a_little(database, f"warm {n}")) for n in range(5)]
    took_s = statistics.median(warm)
    async with opened(database_url, timeout_s=5) as other:
        for number in range(300):
            writing = asyncio.create_task(write_a_little(database, str(number)))
            for _ in range(chance.randint(1, 2)):  # some twice
                await asyncio.sleep(chance.random() * took_s)
                writing.cancel()
            errors += await asyncio.gather(writing, return_exceptions=True)
            await count_up(other if number % 2 else database)

        assert await count(other) == 300
    assert sum(isinstance(error, asyncio.CancelledError) for error in errors) > 30


async def timed(work):
    began = time.monotonic()
    await work
    return time.monotonic() - began


async def write_a_little(database, name):
    """Two statements, of which each leaves a row to be fetched."""
    async with database.write() as connection:
        row = insert(leases).values(name=name, holder="h", until=1)
        await connection.execute(row.returning(leases.c.name))
        await connection.execute(update(leases).values(until=2).returning(leases.c.name))


async def test_a_cancelled_migration_leaves_no_lock(sqlite_url):
    errors, chance = [], random.Random(12)  # noqa: S311
    async with opened(sqlite_url, timeout_s=5) as database:
        for number in range(100):
            migrating = asyncio.create_task(migrate_a_little(database, str(number)))
            await asyncio.sleep(chance.random() * 0.02)
            migrating.cancel()
            errors += await asyncio.gather(migrating, return_exceptions=True)
            await count_up(database)

        assert await count(database) == 100
    assert any(errors)


async def migrate_a_little(database, name):
    async with database.migrate() as connection:
        row = insert(leases).values(name=name, holder="h", until=1)
        await connection.execute(row.returning(leases.c.name))


# News


async def test_changes_are_equal_while_nothing_happens(database):
    before = await database.changes()
    await count(database)

    assert await database.changes() == before


async def test_changes_tell_of_every_commit_of_ours_and_of_others(database, database_url):
    seen = [await database.changes()]

    await count_up(database)
    seen.append(await database.changes())
    async with opened(database_url) as other:
        await count_up(other)
    seen.append(await database.changes())

    assert len(set(seen)) == 3


async def test_changes_may_be_asked_for_by_many_at_once(database):
    assert len(set(await asyncio.gather(*[database.changes() for _ in range(20)]))) == 1


async def test_changes_are_unequal_where_a_file_cannot_be_opened(tmp_path):
    path = tmp_path / "omma.db"
    async with opened(f"sqlite:///{path}") as database:
        path.mkdir()
        assert await database.changes() != await database.changes()
        path.rmdir()

        assert await database.changes() == await database.changes()


# The file


async def test_the_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "new" / "omma.db"

    async with opened(f"sqlite:///{path}") as database:
        await upgrade(database)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == dict.fromkeys(["omma.db", "omma.db-wal", "omma.db-shm"], 0o600)


async def test_a_new_file_can_be_opened_by_many_at_once(tmp_path):
    url = f"sqlite:///{tmp_path / 'new' / 'omma.db'}"

    async def look():
        async with opened(url) as database, database.read() as connection:
            return (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar()

    assert await asyncio.gather(*[look() for _ in range(30)]) == ["wal"] * 30
    # SQLite itself leaves the latter two where the last two closed at the same moment.
    names = {file.name for file in (tmp_path / "new").iterdir()}
    assert names - {"omma.db-wal", "omma.db-shm"} == {"omma.db"}


async def test_a_file_system_needs_no_links(tmp_path, monkeypatch):
    def refuse(*ignored):
        del ignored
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "omma.db"

    async with opened(f"sqlite:///{path}") as database:
        await upgrade(database)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_was_answered_is_on_the_disk(sqlite_database):
    async with sqlite_database.write() as connection:
        settings = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert settings == ["wal", 2, 1]
