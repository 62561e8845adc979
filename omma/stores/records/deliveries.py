"""What others are to be told of ended jobs, until they have been."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    Select,
    Table,
    and_,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from omma.domain.events import EventKind
from omma.domain.jobs import Failure, JobState
from omma.ports.deliveries import EVERYBODY, Delivered, Delivery, DeliveryKind, Shares
from omma.stores.records.database import Database
from omma.stores.records.events import NewEvent, append_events, new_event
from omma.stores.records.rows import clean, to_job
from omma.stores.records.tables import callbacks, jobs, media_store_sync_status

LONGEST_ERROR = 2000  # characters
LOOKED_AT = 1000  # of those that are due, the first; who has its fill is not among them
TABLES: Mapping[DeliveryKind, Table] = {
    DeliveryKind.CALLBACK: callbacks,
    DeliveryKind.MEDIA_STORE: media_store_sync_status,
}


class SqlDeliveries:
    """One row for each ended job, in a table for each kind; only rows of these kinds are taken."""

    def __init__(
        self, database: Database, *, callbacks: bool = True, media_store: bool = True
    ) -> None:
        wanted = {DeliveryKind.CALLBACK: callbacks, DeliveryKind.MEDIA_STORE: media_store}
        self._kinds = [kind for kind, is_wanted in wanted.items() if is_wanted]
        self._database = database

    async def due(
        self, *, limit: int, lease_s: float, shares: Shares = EVERYBODY
    ) -> list[Delivery]:
        self._kinds.reverse()  # each kind is first in turn: many of one starve none of the other
        found: list[Delivery] = []
        async with self._database.write() as connection:
            for kind in self._kinds:
                if kind in shares.kinds:
                    fair = self._fair(connection, kind, shares).limit(limit - len(found))
                    taken = await self._take(connection, TABLES[kind], fair, lease_s)
                    found += await _with_jobs(connection, kind, taken)
        return found

    def _fair(
        self, connection: AsyncConnection, kind: DeliveryKind, shares: Shares
    ) -> Select[tuple[int]]:
        """The ids of those that are due, so that owners take turns."""
        table, owner = TABLES[kind], jobs.c.created_by
        origin = _origin(connection) if kind is DeliveryKind.CALLBACK else jobs.c.job_id
        first = select(table.c.id, table.c.next_retry_at, owner, origin.label("origin"))
        first = first.join(jobs, jobs.c.job_id == table.c.job_id).where(
            table.c.next_retry_at <= self._database.now,
            owner.not_in(shares.without_owners),
            origin.not_in(shares.without_origins),
        )
        late = first.order_by(table.c.next_retry_at, table.c.id).limit(LOOKED_AT).subquery()
        turns = (_turn(late.c.created_by, late).label("of_owner"), _turn(late.c.origin, late))
        ranked = select(late.c.id, late.c.next_retry_at, turns[0], turns[1].label("of_origin"))
        each = ranked.subquery()
        within = and_(each.c.of_owner <= shares.each, each.c.of_origin <= shares.each)
        return select(each.c.id).where(within).order_by(each.c.of_owner, each.c.next_retry_at)

    async def _take(
        self, connection: AsyncConnection, table: Table, fair: Select[tuple[int]], lease_s: float
    ) -> Sequence[Row[Any, Any, Any]]:
        now = self._database.now
        late = select(table.c.id).where(table.c.id.in_(fair), table.c.next_retry_at <= now)
        late = late.with_for_update(skip_locked=True)
        taking = (
            update(table)
            .where(table.c.id.in_(select(late.cte("late").c.id)))  # as a CTE: chosen only once
            .values(next_retry_at=now + round(lease_s * 1000), sync_attempted_at=now)
            .returning(table.c.id, table.c.job_id, table.c.retry_count)
        )
        return (await connection.execute(taking)).all()

    async def settle(self, outcomes: Sequence[Delivered]) -> None:
        told = {outcome.delivery.job.job_id for outcome in outcomes}
        # Who deletes jobs locks them first, too, and only then what belongs to them.
        locked = select(jobs.c.job_id).where(jobs.c.job_id.in_(told)).order_by(jobs.c.job_id)
        async with self._database.write() as connection:
            await connection.execute(locked.with_for_update(key_share=True))
            events: list[NewEvent] = []
            for outcome in outcomes:
                is_news = await self._record(connection, outcome)
                if is_news and outcome.error and outcome.delay_s is None:
                    events += await _defeated(connection, outcome)
            if events:
                now = await connection.scalar(select(self._database.now))
                await append_events(connection, now or 0, events)

    async def _record(self, connection: AsyncConnection, outcome: Delivered) -> bool:
        """Whether it is news: not of a row that was settled since, or is another's by now."""
        delivery = outcome.delivery
        table = TABLES[delivery.kind]
        is_it = and_(
            table.c.id == delivery.id,
            table.c.job_id == delivery.job.job_id,
            table.c.retry_count == delivery.tries,
            table.c.next_retry_at.is_not(None),
        )
        row = update(table).where(is_it).values(self._after(outcome)).returning(table.c.id)
        return await connection.scalar(row) is not None

    def _after(self, outcome: Delivered) -> dict[str, Any]:
        now = self._database.now
        row: dict[str, Any] = {"retry_count": outcome.delivery.tries + 1, "next_retry_at": None}
        if not outcome.error:
            return {**row, "sync_status": "completed", "sync_completed_at": now, "sync_error": None}
        row["sync_error"] = clean(outcome.error)[:LONGEST_ERROR]
        if outcome.delay_s is None:
            return {**row, "sync_status": "failed"}
        return {**row, "next_retry_at": now + round(outcome.delay_s * 1000)}


def _origin(connection: AsyncConnection) -> ColumnElement[str]:
    """As `origin_of` has it."""
    place_of = func.instr if connection.dialect.name == "sqlite" else func.strpos
    url = jobs.c.callback_url
    rest = func.substr(url, 9) + literal("/")
    return func.substr(url, 1, place_of(rest, literal("/")) + 7)


def _turn(of: ColumnElement[Any], late: FromClause) -> ColumnElement[int]:
    order = (late.c.next_retry_at, late.c.id)
    return func.row_number().over(partition_by=of, order_by=order)


async def _with_jobs(
    connection: AsyncConnection, kind: DeliveryKind, taken: Sequence[Row[Any, Any, Any]]
) -> list[Delivery]:
    if not taken:
        return []
    rows = select(jobs).where(jobs.c.job_id.in_([row.job_id for row in taken]))
    known = {row.job_id: to_job(row) for row in await connection.execute(rows)}
    return [Delivery(row.id, kind, known[row.job_id], row.retry_count) for row in taken]


async def _defeated(connection: AsyncConnection, outcome: Delivered) -> list[NewEvent]:
    """A job whose result the media store did not take is `SYNC_FAILED`."""
    if outcome.delivery.kind is not DeliveryKind.MEDIA_STORE:
        return []
    is_it = jobs.c.job_id == outcome.delivery.job.job_id
    ended = update(jobs).where(is_it, jobs.c.status == JobState.COMPLETED.value)
    failure = Failure("sync_failed", clean(outcome.error)[:LONGEST_ERROR])
    changed = ended.values(
        status=JobState.SYNC_FAILED.value, error_code=failure.code, error_message=failure.message
    ).returning(jobs)
    return [
        new_event(EventKind.SYNC_FAILED, to_job(row), failure=asdict(failure))
        for row in await connection.execute(changed)
    ]
