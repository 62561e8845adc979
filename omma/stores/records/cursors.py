"""How far readers of the events have come."""

from sqlalchemy import select

from omma.stores.records.database import Database
from omma.stores.records.tables import cursors
from omma.stores.records.upserts import upsert


class SqlCursors:
    """One row for each reader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, name: str) -> int | None:
        async with self._database.read() as connection:
            return await connection.scalar(select(cursors.c.seq).where(cursors.c.name == name))

    async def write(self, name: str, seq: int) -> None:
        row = upsert(cursors, is_sqlite=self._database.is_sqlite).values(name=name, seq=seq)
        further = row.on_conflict_do_update(
            index_elements=[cursors.c.name],
            set_={"seq": row.excluded.seq},
            where=cursors.c.seq < row.excluded.seq,
        )
        async with self._database.write() as connection:
            await connection.execute(further)
