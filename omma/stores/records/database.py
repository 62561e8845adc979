"""The one door to SQL: transactions, and the database's own clock."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Integer, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.types import BigInteger

from omma.stores.records.engines import (
    create_private,
    parse_url,
    postgres_engine,
    sqlite_engine,
)
from omma.stores.records.news import SqliteNews
from omma.stores.records.tables import event_counter
from omma.stores.records.trouble import translated

JULIAN_1970 = 2440587.5  # days, of the Unix epoch
WRITER_CACHE_KIB = (
    16 * 1024
)  # with SQLite's own 2 MiB, a million finished jobs slow claiming by half
PATIENCE_S = 300.0  # for another process' migration


class Database:
    """Transactions over one SQLite file or one PostgreSQL database.

    ``clock`` answers milliseconds in place of the database's own clock: for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        timeout_s: float = 10.0,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._url = parse_url(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._timeout_s = timeout_s
        self._clock = clock
        if self.is_sqlite:
            self._open_sqlite(pool_size)
        else:
            self._writer = postgres_engine(self._url, pool_size=pool_size, timeout_s=timeout_s)
            self._reader = self._writer.execution_options(postgresql_readonly=True)
            self._watcher = self._writer.execution_options(isolation_level="AUTOCOMMIT")
            self._news: SqliteNews | None = None

    def _open_sqlite(self, pool_size: int) -> None:
        def engine(begin: str, size: int, *pragmas: str) -> AsyncEngine:
            wait_s = self._timeout_s
            return sqlite_engine(
                self._url, begin, pool_size=size, timeout_s=wait_s, pragmas=pragmas
            )

        self._reader = engine("BEGIN", pool_size, "query_only = ON")
        # One writer a process, queued in order: SQLite's own waiting is a lottery.
        self._writer = engine("BEGIN IMMEDIATE", 1, f"cache_size = -{WRITER_CACHE_KIB}")
        self._news = SqliteNews(Path(self._url.database or ""), create_private)

    @property
    def place(self) -> str:
        """Where it is, in words that give no secret away."""
        if self.is_sqlite:
            return f"sqlite:///{self._url.database}"
        host = self._url.host or self._url.query.get("host") or "localhost"
        return f"postgresql database {self._url.database or ''} on {host}"

    @property
    def now(self) -> ColumnElement[int]:
        """Milliseconds since 1970, by the database's clock, as an expression."""
        if self._clock is not None:
            return literal(self._clock(), BigInteger)
        if self.is_sqlite:
            days = func.julianday("now") - JULIAN_1970  # unixepoch('subsec') came with 3.42 only
            return cast(func.round(days * 86_400_000), Integer)
        return cast(func.extract("epoch", func.clock_timestamp()) * 1000, BigInteger)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that only reads; raises `StoreUnavailable`."""
        async with translated(), self._reader.begin() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that has the right to write from its start; raises `StoreUnavailable`."""
        async with translated(), self._writer.begin() as connection:
            yield connection

    async def changes(self) -> object:
        """Equal to the answer before unless something was committed since, by anybody.

        In PostgreSQL: unless an event was. Cheap enough for who looks many times a second; raises
        `StoreUnavailable`.
        """
        if self._news is not None:
            return self._news.look()
        async with translated(), self._watcher.connect() as connection:
            return await connection.scalar(select(event_counter.c.seq))

    @asynccontextmanager
    async def migrate(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction on a connection of its own, which waits long and may take long.

        SQLite does not watch foreign keys in it: to remake a table would empty those below.
        """
        engine = self._patient_engine()
        try:
            async with translated(), engine.begin() as connection:
                yield connection
        finally:
            await engine.dispose()

    def _patient_engine(self) -> AsyncEngine:
        if self.is_sqlite:
            unwatched = ("foreign_keys = OFF",)
            return sqlite_engine(
                self._url, "BEGIN IMMEDIATE", pool_size=0, timeout_s=PATIENCE_S, pragmas=unwatched
            )
        return postgres_engine(
            self._url, pool_size=0, timeout_s=self._timeout_s, lock_timeout_s=PATIENCE_S
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._news is not None:
            self._news.close()
        for engine in (self._reader, self._writer):
            await engine.dispose()


def to_ms(at: datetime) -> int:
    """A time as the records have it."""
    return int(at.timestamp() * 1000)


def from_ms(at: int) -> datetime:
    """A recorded time, in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC)
