"""Tokens that were revoked, in SQL: for who runs no Redis."""

import hashlib
from datetime import datetime

from sqlalchemy import delete, exists, select

from omma.stores.records.database import Database, to_ms
from omma.stores.records.tables import revoked_tokens
from omma.stores.records.upserts import upsert

KEPT_MS = 86_400_000  # past its expiry: clocks differ, and leeway is given


class SqlBlocklist:
    """One row for each revoked token, until well after it has expired."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def revoke(self, token_id: str, expires_at: datetime) -> None:
        row = upsert(revoked_tokens, is_sqlite=self._database.is_sqlite).values(
            token_id=_digest(token_id), expires_at=to_ms(expires_at)
        )
        kept = row.on_conflict_do_update(
            index_elements=[revoked_tokens.c.token_id],
            set_={"expires_at": row.excluded.expires_at},
            where=revoked_tokens.c.expires_at < row.excluded.expires_at,
        )
        old = revoked_tokens.c.expires_at < self._database.now - KEPT_MS
        async with self._database.write() as connection:
            await connection.execute(delete(revoked_tokens).where(old))
            await connection.execute(kept)

    async def is_revoked(self, token_id: str) -> bool:
        known = exists().where(revoked_tokens.c.token_id == _digest(token_id))
        async with self._database.read() as connection:
            return bool(await connection.scalar(select(known)))


def _digest(token_id: str) -> str:
    """Of one length, whatever the issuer puts there: any text may come."""
    return hashlib.sha256(token_id.encode("utf-8", "surrogatepass")).hexdigest()
