"""What humans said a photograph shows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, func, select

from omma.domain.cards import CardId, Correction, ItemId
from omma.stores.records.database import Database, from_ms, to_ms
from omma.stores.records.rows import clean
from omma.stores.records.sets import GIVEN, given_texts
from omma.stores.records.tables import corrections, sweeps
from omma.stores.records.upserts import upsert


class SqlCorrections:
    """Corrections over SQL: one row for each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, correction: Correction) -> None:
        """With the row its image is somebody's: no sweep is due to it any more."""
        row = upsert(corrections, is_sqlite=self._database.is_sqlite).values(_row(correction))
        folder = correction.image.rpartition("/")[0]
        async with self._database.write() as connection:
            await connection.execute(row.on_conflict_do_nothing())
            await connection.execute(delete(sweeps).where(sweeps.c.folder == folder))

    async def recent(self, *, limit: int, skip: int = 0) -> list[Correction]:
        newest = (
            select(corrections)
            .order_by(corrections.c.created_at.desc(), corrections.c.correction_id)
            .limit(limit)
            .offset(skip)
        )
        async with self._database.read() as connection:
            return [_correction(row) for row in await connection.execute(newest)]

    async def count(self, owner: str, *, within_s: float) -> int:
        since = self._database.now - round(within_s * 1000)
        mine = select(func.count()).where(
            corrections.c.created_at > since, corrections.c.created_by == clean(owner)
        )
        async with self._database.read() as connection:
            return await connection.scalar(mine) or 0

    async def remove(self, correction_ids: Sequence[str]) -> None:
        given = given_texts(is_sqlite=self._database.is_sqlite)
        gone = delete(corrections).where(corrections.c.correction_id.in_(given))
        async with self._database.write() as connection:
            await connection.execute(gone, {GIVEN: list(correction_ids)})


def _row(correction: Correction) -> dict[str, Any]:
    item, claimed = correction.item, correction.claimed
    return {
        "correction_id": correction.correction_id,
        "card_id": item.card_id if item else None,
        "face": item.face if item else None,
        "claimed_card_id": claimed.card_id if claimed else None,
        "claimed_face": claimed.face if claimed else None,
        "image": correction.image,
        "created_by": correction.created_by,
        "created_at": to_ms(correction.created_at),
    }


def _correction(row: Row[Any]) -> Correction:
    return Correction(
        correction_id=row.correction_id,
        item=_item(row.card_id, row.face),
        claimed=_item(row.claimed_card_id, row.claimed_face),
        image=row.image,
        created_by=row.created_by,
        created_at=from_ms(row.created_at),
    )


def _item(card_id: str | None, face: int | None) -> ItemId | None:
    return None if card_id is None or face is None else ItemId(CardId(card_id), face)
