"""Sessions in which a phone leaves the result that a computer waits for."""

import json
import uuid

from sqlalchemy import ColumnElement, delete, func, insert, select, update

from omma.domain.errors import QuotaExceeded, SessionNotFound
from omma.domain.jobs import Json
from omma.ports.sessions import SessionId, SessionState
from omma.stores.records.database import Database
from omma.stores.records.rows import clean
from omma.stores.records.tables import card_sessions

RETRY_AFTER_S = 60  # sessions last for much longer, and many end each minute

known = card_sessions.c


class SqlCardSessions:
    """CardSessions over SQL: one row for each, until its time is over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, owner: str, *, ttl_s: float, max_open: int, max_own: int) -> SessionId:
        now, session_id = self._database.now, SessionId(str(uuid.uuid4()))
        row = insert(card_sessions).values(
            session_id=session_id,
            created_by=clean(owner),
            created_at=now,
            expires_at=now + round(ttl_s * 1000),
        )
        own = func.count().filter(known.created_by == clean(owner))
        opened = select(func.count(), own).where(known.expires_at > now)
        async with self._database.write() as connection:
            of_all, of_owner = (await connection.execute(opened)).one()
            if of_all >= max_open:
                full = f"{max_open} sessions are open: the most there may be"
                raise QuotaExceeded(full, RETRY_AFTER_S)
            if of_owner >= max_own:
                full = f"{max_own} sessions of this token are open: the most it may have"
                raise QuotaExceeded(full, RETRY_AFTER_S)
            await connection.execute(row)
        return session_id

    async def submit(self, session_id: str, result: Json) -> None:
        left = update(card_sessions).where(self._is_open(session_id))
        async with self._database.write() as connection:
            done = await connection.execute(left.values(result=json.dumps(result)))
        if not done.rowcount:
            raise _unknown(session_id)

    async def result(self, session_id: str) -> SessionState:
        wanted = select(known.result).where(self._is_open(session_id))
        async with self._database.read() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            raise _unknown(session_id)
        return (
            SessionState("done", json.loads(row.result)) if row.result else SessionState("waiting")
        )

    async def expire(self, limit: int) -> int:
        over = select(known.session_id).where(known.expires_at <= self._database.now)
        oldest = over.order_by(known.expires_at).limit(limit)
        async with self._database.write() as connection:
            gone = delete(card_sessions).where(known.session_id.in_(oldest))
            return (await connection.execute(gone)).rowcount

    def _is_open(self, session_id: str) -> ColumnElement[bool]:
        """What databases refuse to compare with is no session's id."""
        named = known.session_id == clean(session_id)
        return named & (known.expires_at > self._database.now)


def _unknown(session_id: str) -> SessionNotFound:
    return SessionNotFound(f"no open session {session_id!r}")
