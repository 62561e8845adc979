"""Connections to the two databases, each set up so that what was answered survives."""

import errno
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InvalidatePoolError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from omma.domain.errors import CannotStart

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
SPELLINGS = {"postgres": "postgresql"}  # as many a DATABASE_URL has it
# Every statement here looks up a few rows by an index. A plan made while its table was small, and
# kept, would otherwise read the whole table when it has grown.
BY_INDEX = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
UNKNOWN_TO_ASYNCPG = ("channel_binding", "connect_timeout", "gssencmode", "keepalives")


class _Connection(sqlite3.Connection):
    """One that is over when it is closed, its transaction too.

    A connection is closed when its task is cancelled amid a statement. SQLite keeps it, locks and
    all, while a cursor lives that has rows to give; and that lives as long as the error's
    traceback. So all of them are closed first, in the same turn of the driver's thread.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cursors = WeakSet[sqlite3.Cursor]()

    def cursor(self, *args: Any, **options: Any) -> Any:
        cursor = super().cursor(*args, **options)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        for cursor in self._cursors:
            cursor.close()
        super().close()


def parse_url(text: str) -> URL:
    """Read a documented database URL, whatever driver it names; ours take its place."""
    try:
        url = make_url(text)
    except (SQLAlchemyError, ValueError):  # its message would show the password
        raise CannotStart("expected DATABASE_URL to be the URL of a database") from None
    kind = url.get_backend_name()
    kind = SPELLINGS.get(kind, kind)
    if kind not in DRIVERS:
        raise CannotStart(f"expected a sqlite or postgresql URL, got {kind!r}")
    url = url.set(drivername=DRIVERS[kind])
    return _of_a_file(url) if kind == "sqlite" else url


def _of_a_file(url: URL) -> URL:
    """The same with an absolute path: the folder that a process works in may change."""
    file = url.database or ":memory:"
    if file == ":memory:" or file.startswith("file:"):
        raise CannotStart(f"expected sqlite:/// and the path of a file, got {file!r}")
    return url.set(database=str(Path(file).absolute()))


def sqlite_engine(
    url: URL, begin: str, *, pool_size: int, timeout_s: float, pragmas: tuple[str, ...] = ()
) -> AsyncEngine:
    """Transactions that start with ``begin``; ``pool_size`` 0 for no pool."""
    engine = create_async_engine(
        url,
        **_pooled(pool_size, timeout_s),
        connect_args={
            "timeout": timeout_s,
            "isolation_level": None,  # we say BEGIN ourselves
            "factory": _Connection,
        },
    )
    settings = (
        "journal_mode = WAL",
        "synchronous = FULL",  # what was answered survives a power cut
        "foreign_keys = ON",
        *pragmas,
    )

    def create(*ignored: object) -> None:
        del ignored
        create_private(Path(url.database or ""))

    def prepare(connection: Any, record: object) -> None:
        del record
        cursor = connection.cursor()
        for setting in settings:
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    def execute_begin(driver: Any) -> Any:
        return driver.execute(begin)

    def start(connection: Any) -> None:
        # straight to the driver: SQLAlchemy's cursors cost a hop between threads each
        connection.connection.dbapi_connection.run_async(execute_begin)

    event.listen(engine.sync_engine, "do_connect", create)
    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", start)
    return engine


def create_private(path: Path) -> None:
    """Make the file before SQLite does: results are biometric data, for its owner alone.

    It is in WAL mode before it has its name. SQLite answers at once, without waiting, that the
    database is locked when one connection changes the mode while another one opens the file.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # for its owner alone
    os.close(file)
    try:
        with closing(sqlite3.connect(name)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        with suppress(FileExistsError):  # another process was quicker
            _name(name, path)
    finally:
        Path(name).unlink()


def _name(file: str, path: Path) -> None:
    """Give the file a second name, unless there is one of that name; it stays empty otherwise."""
    try:
        os.link(file, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))


def postgres_engine(
    url: URL, *, pool_size: int, timeout_s: float, lock_timeout_s: float | None = None
) -> AsyncEngine:
    """Connections that a dead peer, a lock or a paused process cannot hold for good.

    ``lock_timeout_s`` is for what may take its time: no statement of it is broken off.
    """
    is_patient = lock_timeout_s is not None
    options = {
        "dsn": _dsn(url),  # asyncpg reads the options of libpq: sslmode, target_session_attrs
        "timeout": timeout_s,
        "command_timeout": None if is_patient else 3 * timeout_s,
        "server_settings": {
            "application_name": "omma",
            "lock_timeout": _ms(lock_timeout_s or timeout_s),
            # who is paused within a transaction holds the lock that every writer needs
            "idle_in_transaction_session_timeout": _ms(3 * timeout_s),
            **BY_INDEX,
        },
    }
    engine = create_async_engine(
        "postgresql+asyncpg://", connect_args=options, **_pooled(pool_size, timeout_s)
    )
    event.listen(engine.sync_engine, "checkout", _require_open)
    return engine


def _require_open(connection: Any, record: object, proxy: object) -> None:
    """The driver has heard of a server that went; to ask it costs three round trips."""
    del record, proxy
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


def _dsn(url: URL) -> str:
    plain = url.set(drivername="postgresql").difference_update_query(UNKNOWN_TO_ASYNCPG)
    return plain.render_as_string(hide_password=False)


def _pooled(pool_size: int, timeout_s: float) -> dict[str, Any]:
    if not pool_size:
        return {"poolclass": NullPool}
    return {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": timeout_s}


def _ms(seconds: float) -> str:
    return str(int(seconds * 1000))
