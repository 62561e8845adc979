"""Which replica serves which snapshot."""

from sqlalchemy import delete, select, tuple_

from omma.domain.indexes import Serving
from omma.stores.records.database import Database, from_ms
from omma.stores.records.tables import index_servings
from omma.stores.records.upserts import upsert

served = index_servings.c


class SqlServings:
    """Servings over SQL: one row for each replica, until it was silent for too long."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, name: str, replica: str, version: str, *, ttl_s: float) -> None:
        now = self._database.now
        row = upsert(index_servings, is_sqlite=self._database.is_sqlite).values(
            name=name,
            replica=replica,
            version=version,
            seen_at=now,
            until=now + round(ttl_s * 1000),
        )
        again = row.on_conflict_do_update(
            index_elements=[served.name, served.replica],
            set_={column: row.excluded[column] for column in ("version", "seen_at", "until")},
        )
        async with self._database.write() as connection:
            await connection.execute(again)
        await self._forget_silent(name)

    async def _forget_silent(self, name: str) -> None:
        """By itself, and but for those that report right now: nobody waits for anybody."""
        silent = (
            select(served.name, served.replica)
            .where(served.name == name, served.until <= self._database.now)
            .with_for_update(skip_locked=True)
        )
        gone = delete(index_servings).where(tuple_(served.name, served.replica).in_(silent))
        async with self._database.write() as connection:
            await connection.execute(gone)

    async def leave(self, name: str, replica: str) -> None:
        is_it = (served.name == name) & (served.replica == replica)
        async with self._database.write() as connection:
            await connection.execute(delete(index_servings).where(is_it))

    async def listed(self, name: str) -> list[Serving]:
        known = select(index_servings).where(served.name == name, served.until > self._database.now)
        async with self._database.read() as connection:
            rows = await connection.execute(known.order_by(served.replica))
            return [
                Serving(row.name, row.replica, row.version, from_ms(row.seen_at)) for row in rows
            ]
