"""The record of events: one counter gives their order, which is the order of commits."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    FromClause,
    Row,
    Select,
    String,
    Text,
    bindparam,
    delete,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert

from omma.domain.events import Event, EventKind
from omma.domain.jobs import Job, JobId, Json
from omma.stores.records.database import Database, from_ms
from omma.stores.records.sets import GIVEN, given_rows
from omma.stores.records.tables import event_counter, events

log = logging.getLogger(__name__)

KINDS = frozenset(EventKind)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that has no number yet."""

    kind: EventKind
    job_id: JobId
    owner: str
    data: Json


def new_event(kind: EventKind, job: Job, **more: Json) -> NewEvent:
    """What happened to ``job``, which stands already where it brought it."""
    asked = job.asked
    data = {"operation": asked.operation, "state": job.state.value, "attempt": job.attempt}
    return NewEvent(kind, job.job_id, asked.owner, {**data, **more})


async def append_events(
    connection: AsyncConnection, now: int, happened: Sequence[NewEvent]
) -> None:
    """Number and record them: last in its transaction, for it locks out all others to commit."""
    if not happened:
        return
    rows = [
        {
            "number": number,
            "kind": event.kind.value,
            "job_id": event.job_id,
            "created_by": event.owner,
            "data": json.dumps(event.data),
        }
        for number, event in enumerate(happened, 1)
    ]
    given = {GIVEN: rows, "count": len(rows), "now": now}
    if connection.dialect.name == "sqlite":
        await connection.execute(_RESERVE, given)
        told = await connection.execute(_insert_reserved(), given)
    else:  # one statement: a round trip less, while all others wait
        told = await connection.execute(_reserve_and_insert(), given)
    if told.rowcount != len(rows):
        raise RuntimeError("expected one row in event_counter: a migration puts it there")


class SqlEventLog:
    """Events as streams read them; a later omma beside us may write kinds that we do not know."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._skipped = set[str]()  # unknown kinds that the log of this process has told of

    async def last(self) -> int:
        async with self._database.read() as connection:
            return await connection.scalar(select(event_counter.c.seq)) or 0

    async def changes(self) -> object:
        return await self._database.changes()

    async def after(self, seq: int, *, limit: int, job_id: JobId | None = None) -> list[Event]:
        """Fewer than ``limit`` are all there are: those of unknown kinds count for nothing."""
        known: list[Event] = []
        async with self._database.read() as connection:
            while True:
                wanted = limit - len(known)
                rows = (await connection.execute(_above(seq, wanted, job_id))).all()
                known += [_event(row) for row in rows if self._is_known(row)]
                if len(rows) < wanted or len(known) == limit:
                    return known
                seq = rows[-1].seq

    def _is_known(self, row: Row[Any]) -> bool:
        if row.kind in KINDS:
            return True
        if row.kind not in self._skipped:
            self._skipped.add(row.kind)
            log.warning("skipping events of a kind that is not ours", extra={"kind": row.kind})
        return False

    async def prune(self, *, older_than_s: float, limit: int) -> int:
        before = self._database.now - round(older_than_s * 1000)
        old = select(events.c.seq).where(events.c.at < before).order_by(events.c.at).limit(limit)
        async with self._database.write() as connection:
            return (await connection.execute(delete(events).where(events.c.seq.in_(old)))).rowcount


_COUNT = bindparam("count", type_=BigInteger)
_RESERVE = update(event_counter).values(seq=event_counter.c.seq + _COUNT)


@cache
def _insert_reserved() -> Insert:
    return _insert(event_counter, is_sqlite=True)


@cache
def _reserve_and_insert() -> Insert:
    reserved = _RESERVE.returning(event_counter.c.seq).cte("reserved")
    return _insert(reserved, is_sqlite=False)


def _insert(counter: FromClause, *, is_sqlite: bool) -> Insert:
    """Rows with the last numbers that ``counter`` has given out."""
    given = given_rows(
        is_sqlite=is_sqlite,
        number=BigInteger(),
        kind=String(),
        job_id=String(),
        created_by=String(),
        data=Text(),
    )
    columns = {
        "seq": counter.c.seq - _COUNT + given.c.number,
        "kind": given.c.kind,
        "job_id": given.c.job_id,
        "created_by": given.c.created_by,
        "at": bindparam("now", type_=BigInteger),
        "data": given.c.data,
    }
    rows = select(*columns.values()).join_from(given, counter, true())
    return insert(events).from_select(list(columns), rows)


def _above(seq: int, limit: int, job_id: JobId | None) -> Select[*tuple[Any, ...]]:
    wanted = select(events).where(events.c.seq > seq).order_by(events.c.seq).limit(limit)
    return wanted if job_id is None else wanted.where(events.c.job_id == job_id)


def _event(row: Row[Any]) -> Event:
    return Event(
        row.seq,
        EventKind(row.kind),
        JobId(row.job_id),
        row.created_by,
        from_ms(row.at),
        json.loads(row.data),
    )
