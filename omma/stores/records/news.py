"""Whether anything was committed to a SQLite file, for who looks many times a second."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class SqliteNews:
    """A connection of its own, asked on the caller's thread.

    SQLite reads the answer from shared memory within microseconds and waits for nobody, where the
    way to a driver's thread and back takes the processor a millisecond.
    """

    def __init__(self, path: Path, create: Callable[[Path], None]) -> None:
        self._path = path
        self._create = create  # makes the file where there is none
        self._connection: sqlite3.Connection | None = None
        self._opened = 0

    def look(self) -> object:
        """Equal to the answer before unless something was committed since, by anybody.

        Equal to no other where SQLite does not answer; who then reads is told why.
        """
        try:
            version = self._open().execute("PRAGMA data_version").fetchone()[0]
        except (sqlite3.Error, OSError):
            self.close()
            return object()
        return self._opened, version  # versions of one connection compare, no others

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._create(self._path)
            self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            self._connection.execute("PRAGMA query_only = ON")
            self._opened += 1
        return self._connection

    def close(self) -> None:
        """Close the connection; the next look opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
