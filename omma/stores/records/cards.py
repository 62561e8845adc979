"""Cards as their source described them last, and their faces."""

import asyncio
import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from omma.domain.cards import Card, CardFace, CardId
from omma.stores.records.database import Database
from omma.stores.records.names import LAST, name_key
from omma.stores.records.rows import clean
from omma.stores.records.sets import GIVEN, given_texts
from omma.stores.records.tables import card_faces, cards
from omma.stores.records.upserts import upsert

AT_ONCE = 200  # cards in one transaction: SQLite has one writer, and jobs wait for it
THERE = cards.c.removed_at.is_(None)

_Insert = postgresql.Insert | sqlite.Insert


@dataclass(frozen=True, slots=True)
class _Given:
    """A card as rows."""

    card: dict[str, Any]  # of `cards`
    faces: list[dict[str, Any]]  # of `card_faces`


_Rows = dict[str, _Given]  # by the ids of the cards


class SqlCardRecords:
    """CardRecords over SQL: one row for each card, and one for each of its faces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def upsert(self, cards: Sequence[Card], *, seen_in: str) -> int:
        """Some hundred cards a transaction, in order of their ids: two passes do not deadlock."""
        once = sorted({clean(card.card_id): card for card in cards}.items())
        changed = 0
        for start in range(0, len(once), AT_ONCE):
            some = once[start : start + AT_ONCE]
            rows = await asyncio.to_thread(_rows, some)  # before anybody waits for the database
            async with self._database.write() as connection:
                changed += await self._upsert(connection, rows, clean(seen_in))
        return changed

    async def remove_unseen(self, seen_in: str) -> int:
        unseen = THERE & (cards.c.seen_in < clean(seen_in))  # not what a later pass has seen
        gone = update(cards).where(unseen).values(removed_at=self._database.now)
        async with self._database.write() as connection:
            return (await connection.execute(gone)).rowcount

    async def get(self, card_ids: Collection[CardId]) -> dict[CardId, Card]:
        wanted = [card_id for card_id in card_ids if clean(card_id) == card_id]
        chosen = select(cards.c.data).where(THERE, cards.c.card_id.in_(self._given()))
        async with self._database.read() as connection:
            rows = await connection.scalars(chosen, {GIVEN: wanted})
            found = [_to_card(row) for row in rows]
        return {card.card_id: card for card in found}

    async def search(self, text: str, *, limit: int) -> list[Card]:
        """Each step answers what those before have not, and is left out when they sufficed."""
        key = name_key(text)
        found: list[Card] = []
        async with self._database.read() as connection:
            for step in _steps(key) if key else ():
                if len(found) < limit:
                    rows = await connection.execute(_first(step, limit - len(found)))
                    found += [_to_card(row.data) for row in rows]
        return found

    async def count(self) -> tuple[int, int]:
        whole = select(func.count()).select_from(cards).where(THERE)
        both = card_faces.join(cards, card_faces.c.card_id == cards.c.card_id)
        faces = select(func.count()).select_from(both).where(THERE)
        async with self._database.read() as connection:
            return await connection.scalar(whole) or 0, await connection.scalar(faces) or 0

    async def _upsert(self, connection: AsyncConnection, given: _Rows, seen_in: str) -> int:
        """Most cards are as they were: those cost one statement together."""
        told = select(cards.c.card_id, cards.c.digest).where(
            THERE, cards.c.card_id.in_(self._given())
        )
        known = dict((await connection.execute(told, {GIVEN: list(given)})).all())
        is_late = cards.c.card_id.in_(self._given()) & (cards.c.seen_in < seen_in)
        seen = update(cards).where(is_late).values(seen_in=seen_in)
        await connection.execute(seen, {GIVEN: list(known)})
        news = {name: row for name, row in given.items() if known.get(name) != row.card["digest"]}
        if news:
            await connection.execute(
                self._insert_cards(seen_in), [each.card for each in news.values()]
            )
            await self._upsert_faces(connection, news)
        return len(news)

    async def _upsert_faces(self, connection: AsyncConnection, given: _Rows) -> None:
        rows = [row for each in given.values() for row in each.faces]
        there = select(card_faces.c.card_id, card_faces.c.face).where(
            card_faces.c.card_id.in_(self._given())
        )
        known = (await connection.execute(there, {GIVEN: list(given)})).all()
        kept = {(row["card_id"], row["face"]) for row in rows}
        if gone := [
            {"of": of, "number": number} for of, number in known if (of, number) not in kept
        ]:
            this = (card_faces.c.card_id == bindparam("of")) & (
                card_faces.c.face == bindparam("number")
            )
            await connection.execute(delete(card_faces).where(this), gone)
        if rows:
            await connection.execute(self._insert_faces(), rows)

    def _insert_cards(self, seen_in: str) -> _Insert:
        row = upsert(cards, is_sqlite=self._database.is_sqlite).values(
            seen_in=seen_in, updated_at=self._database.now
        )
        fresh = ("name_key", "data", "digest", "updated_at")
        is_later = cards.c.seen_in > row.excluded.seen_in
        last = case((is_later, cards.c.seen_in), else_=row.excluded.seen_in)
        return row.on_conflict_do_update(
            index_elements=[cards.c.card_id],
            set_={name: row.excluded[name] for name in fresh}
            | {"seen_in": last, "removed_at": null()},
        )

    def _insert_faces(self) -> _Insert:
        """What was made of a picture is forgotten as soon as the picture is another."""
        row = upsert(card_faces, is_sqlite=self._database.is_sqlite)
        is_same = card_faces.c.image_key == row.excluded.image_key
        unmade = {"features_key": "", "shard": null(), "keypoints": null(), "tries": 0}
        unmade |= {"is_final": False, "error": null()}
        return row.on_conflict_do_update(
            index_elements=[card_faces.c.card_id, card_faces.c.face],
            set_={"image_key": row.excluded.image_key, "data": row.excluded.data}
            | {
                name: case((is_same, card_faces.c[name]), else_=new) for name, new in unmade.items()
            },
            where=card_faces.c.data != row.excluded.data,
        )

    def _given(self) -> Select[tuple[str]]:
        return given_texts(is_sqlite=self._database.is_sqlite)


def to_face(data: str) -> CardFace:
    """The face of a row's ``data``."""
    return CardFace(**json.loads(data))


def _steps(key: str) -> Iterable[ColumnElement[bool]]:
    """Exact, by start, by part; each is a range of the names' index, or a walk along it."""
    name = cards.c.name_key
    starts = and_(name >= key, name < key + LAST)
    yield name == key
    yield starts & (name != key)
    outside = or_(name < key, name >= key + LAST)
    yield outside & name.contains(key, autoescape=True)


def _first(step: ColumnElement[bool], limit: int) -> Select[tuple[str]]:
    """Only the index is read but for the cards that are answered."""
    order = (cards.c.name_key, cards.c.card_id)
    found = select(cards.c.card_id).where(THERE, step).order_by(*order).limit(limit).subquery()
    both = cards.join(found, cards.c.card_id == found.c.card_id)
    return select(cards.c.data).select_from(both).order_by(*order)


def _rows(given: Sequence[tuple[str, Card]]) -> _Rows:
    return {
        card_id: _Given(_row(card_id, card), [_face_row(card_id, face) for face in card.faces])
        for card_id, card in given
    }


def _row(card_id: str, card: Card) -> dict[str, Any]:
    data = _to_json(card)
    return {
        "card_id": card_id,
        "name_key": name_key(card.name),
        "data": data,
        "digest": hashlib.sha256(data.encode()).hexdigest(),
    }


def _face_row(card_id: str, face: CardFace) -> dict[str, Any]:
    return {
        "card_id": card_id,
        "face": face.number,
        "image_key": clean(face.image_key),
        "data": _to_json(face),
    }


def _to_json(record: Card | CardFace) -> str:
    return json.dumps(_told(record), default=_told, sort_keys=True)


def _told(record: Card | CardFace) -> dict[str, Any]:
    """Its fields as they are: `asdict` copies every one of them, for a third of all the time."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _to_card(data: str) -> Card:
    told: dict[str, Any] = json.loads(data)
    told["finishes"] = tuple(told["finishes"])
    told["faces"] = tuple(CardFace(**face) for face in told["faces"])
    return Card(**told)
