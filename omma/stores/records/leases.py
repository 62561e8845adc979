"""Named rights that one holder has at a time."""

from sqlalchemy import delete, select

from omma.stores.records.database import Database
from omma.stores.records.tables import leases
from omma.stores.records.upserts import upsert


class SqlLeases:
    """One row for each right; one statement takes, takes over or prolongs it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(self, name: str, holder: str, *, ttl_s: float) -> bool:
        now = self._database.now
        row = upsert(leases, is_sqlite=self._database.is_sqlite).values(
            name=name, holder=holder, until=now + round(ttl_s * 1000)
        )
        taken = row.on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={"holder": row.excluded.holder, "until": row.excluded.until},
            where=(leases.c.holder == row.excluded.holder) | (leases.c.until <= now),
        ).returning(leases.c.name)
        async with self._database.write() as connection:
            return await connection.scalar(taken) is not None

    async def release(self, name: str, holder: str) -> None:
        held = (leases.c.name == name) & (leases.c.holder == holder)
        async with self._database.write() as connection:
            await connection.execute(delete(leases).where(held))

    async def holder(self, name: str) -> str | None:
        held = (leases.c.name == name) & (leases.c.until > self._database.now)
        async with self._database.read() as connection:
            return await connection.scalar(select(leases.c.holder).where(held))
