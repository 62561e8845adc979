"""What goes wrong with databases, as our errors."""

import errno
import os
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from socket import gaierror

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from omma.domain.errors import StoreFull, StoreUnavailable

RETRY_AFTER_S = 5
# Classes of PostgreSQL's states that are no mistake of a statement: schema changed beneath a
# connection, connection, authorisation, no such database, rollback, resources, locks,
# intervention, system, corruption; and a standby, which takes no writes.
NOT_OURS = ("0A", "08", "28", "3D", "40", "53", "55", "57", "58", "XX", "25006")
DISK_FULL = "53100"


@asynccontextmanager
async def translated() -> AsyncGenerator[None]:
    """A database that does not answer is `StoreUnavailable`; a mistake of ours stays what it is."""
    try:
        yield
    except DBAPIError as error:
        if _is_ours(error):
            raise
        raise _unavailable(error.orig) from None
    except sqlite3.Error as error:  # of BEGIN, which goes straight to the driver
        raise _unavailable(error) from None
    except (PoolTimeout, OSError) as error:
        raise _unavailable(error) from None


def _is_ours(error: DBAPIError) -> bool:
    if isinstance(error, IntegrityError):
        return True
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error.orig) in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE}
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return False
    return not _state(error.orig).startswith(NOT_OURS)


def _unavailable(cause: BaseException | None) -> StoreUnavailable:
    if _is_full(cause):
        return StoreFull("the database has no room left", RETRY_AFTER_S)
    return StoreUnavailable(f"the database does not answer: {_why(cause)}", RETRY_AFTER_S)


def _is_full(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) == sqlite3.SQLITE_FULL
    if isinstance(cause, OSError):
        return cause.errno in {errno.ENOSPC, errno.EDQUOT}
    return _state(cause) == DISK_FULL


def _why(cause: BaseException | None) -> str:
    """In a few words, without the names of hosts, of users and of files."""
    match cause:
        case sqlite3.Error():
            return str(cause)
        case PoolTimeout():
            return "every connection is in use"
        case TimeoutError():
            return "no answer in time"
        case gaierror():
            return "nobody knows its host"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()  # its own words may name the address
        case _:
            state = _state(cause)
            return f"state {state}" if state else "the connection broke"


def _state(cause: BaseException | None) -> str:
    return getattr(cause, "sqlstate", None) or ""


def _sqlite_code(error: sqlite3.Error) -> int:
    """Without the bits that tell its kinds apart; 0 for what Python says of itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
