"""Which pictures were looked at, and where what was seen of them lies."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    case,
    false,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Update

from omma.domain.cards import CardFace, CardId, ItemId
from omma.ports.cards import Extracted, Unextracted
from omma.stores.records.cards import THERE, to_face
from omma.stores.records.database import Database
from omma.stores.records.rows import clean
from omma.stores.records.sets import GIVEN, given_texts
from omma.stores.records.tables import card_faces, cards

_Step = tuple[ColumnElement[bool], ColumnElement[int], tuple[ColumnElement[Any], ...]]

PAGE = 500  # rows that are taken over at once, about 1 ms

made = card_faces.c
FACES = card_faces.join(cards, made.card_id == cards.c.card_id)  # to know which were removed


class SqlFeatureLedger:
    """FeatureLedger over SQL: columns of the faces' rows.

    ``features_key`` is empty there until something came of the present picture, good or bad.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def missing(self, features_key: str, *, limit: int, max_tries: int) -> list[Unextracted]:
        found: list[Unextracted] = []
        async with self._database.read() as connection:
            for step, tries, order in _steps(features_key, max_tries):
                wanted = select(made.card_id, made.data, tries.label("tries")).select_from(FACES)
                rows = wanted.where(THERE, step).order_by(*order).limit(limit - len(found))
                async for some in _pages(connection, rows):
                    found += await asyncio.to_thread(_unextracted, some)
        return found

    async def count_missing(self, features_key: str, *, max_tries: int) -> int:
        steps = [step for step, *_ in _steps(features_key, max_tries)]
        number = select(func.count()).select_from(FACES)
        async with self._database.read() as connection:
            counts = [await connection.scalar(number.where(THERE, step)) for step in steps]
        return sum(count or 0 for count in counts)

    async def given(self, features_key: str, *, limit: int) -> list[CardFace]:
        chosen = (
            select(made.data)
            .select_from(FACES)
            .where(THERE, made.features_key == features_key, made.shard.is_not(None))
            .order_by(made.features_key, made.card_id, made.face)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [to_face(data) for data in await connection.scalars(chosen)]

    async def record(self, features_key: str, found: Sequence[Extracted]) -> None:
        rows = [_row(each) for each in sorted(found, key=lambda each: each.item)]
        good = [row for row in rows if row["why"] is None]
        bad = [row for row in rows if row["why"] is not None]
        async with self._database.write() as connection:
            if good:
                await connection.execute(_succeed(features_key), good)
            if bad:
                await connection.execute(_fail(features_key), bad)

    async def forget(self, shards: Collection[str]) -> None:
        """One statement, whatever a picture of them does next: the ledger names them no more."""
        given = given_texts(is_sqlite=self._database.is_sqlite)
        unmade = {"features_key": "", "shard": null(), "keypoints": null()}
        forgotten = update(card_faces).where(made.shard.in_(given)).values(unmade)
        async with self._database.write() as connection:
            await connection.execute(forgotten, {GIVEN: sorted(shards)})

    async def shards(self, features_key: str) -> dict[str, list[ItemId]]:
        chosen = (
            select(made.shard, made.card_id, made.face)
            .select_from(FACES)
            .where(THERE, made.features_key == features_key, made.shard.is_not(None))
            .order_by(made.shard, made.card_id, made.face)
        )
        found: dict[str, list[ItemId]] = defaultdict(list)
        async with self._database.read() as connection:
            async for some in _pages(connection, chosen):
                for row in some:
                    found[row.shard].append(_item(row))
        return dict(found)

    async def kept(self) -> set[str]:
        named = select(made.shard).distinct().where(made.shard.is_not(None))
        async with self._database.read() as connection:
            return set(await connection.scalars(named))

    async def failures(self, features_key: str, *, limit: int) -> list[tuple[ItemId, str]]:
        failed = (
            select(made.card_id, made.face, made.error)
            .select_from(FACES)
            .where(THERE, made.features_key == features_key, made.error.is_not(None))
            .order_by(made.card_id, made.face)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [(_item(row), row.error) for row in await connection.execute(failed)]


async def _pages(
    connection: AsyncConnection, chosen: Select[*tuple[Any, ...]]
) -> AsyncIterator[Sequence[Row[Any]]]:
    """A few rows at a time: whoever waits on the event loop meanwhile has its turn."""
    result = await connection.stream(chosen, execution_options={"yield_per": PAGE})
    async for some in result.partitions():
        yield some


def _steps(features_key: str, max_tries: int) -> Iterable[_Step]:
    """What is missing, in ranges of indexes: its condition, its failed tries, its order.

    Faces of an engine's other key count as never looked at, like those of no key.
    """
    new, order = literal(0), (made.features_key, made.card_id, made.face)
    yield made.features_key < features_key, new, order
    yield made.features_key > features_key, new, order
    failed = and_(made.features_key == features_key, made.error.is_not(None))
    again = ~made.is_final & (made.tries < max_tries)
    yield failed & again, made.tries, (made.tries, made.card_id, made.face)


def _this() -> ColumnElement[bool]:
    """The face of a row's picture: none any more when it got another meanwhile."""
    return and_(
        made.card_id == bindparam("of"),
        made.face == bindparam("number"),
        made.image_key == bindparam("picture"),
    )


def _succeed(features_key: str) -> Update:
    return (
        update(card_faces)
        .where(_this())
        .values(
            features_key=features_key,
            shard=bindparam("path"),
            keypoints=bindparam("seen"),
            tries=0,
            is_final=false(),
            error=null(),
        )
    )


def _fail(features_key: str) -> Update:
    """Never over a success by the same key; tries are told, not counted: it may be repeated."""
    is_same = made.features_key == features_key
    tried = bindparam("tried", type_=Integer)
    final = bindparam("final", type_=Boolean)
    return (
        update(card_faces)
        .where(_this(), or_(~is_same, made.shard.is_(None)))
        .values(
            features_key=features_key,
            shard=null(),
            keypoints=null(),
            tries=case((is_same & (made.tries > tried), made.tries), else_=tried),
            is_final=case((is_same & made.is_final, made.is_final), else_=final),
            error=bindparam("why"),
        )
    )


def _row(found: Extracted) -> dict[str, Any]:
    return {
        "of": clean(found.item.card_id),
        "number": found.item.face,
        "picture": clean(found.image_key),
        "path": found.shard,
        "seen": found.keypoints,
        "tried": found.tries + found.is_counted,
        "final": found.is_final,
        "why": clean(found.error) or None,
    }


def _unextracted(rows: Sequence[Row[Any]]) -> list[Unextracted]:
    return [Unextracted(CardId(row.card_id), to_face(row.data), row.tries) for row in rows]


def _item(row: Row[*tuple[Any, ...]]) -> ItemId:
    return ItemId(CardId(row.card_id), row.face)
