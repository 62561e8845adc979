"""Snapshots of indexes, and which of them is to be served."""

import json
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from omma.domain.errors import PublishConflict, SnapshotNotFound
from omma.domain.indexes import IndexStats, Published, Snapshot, SnapshotState
from omma.domain.jobs import Json
from omma.stores.records.database import Database, from_ms, to_ms
from omma.stores.records.tables import index_servings, index_snapshots, indexes
from omma.stores.records.upserts import upsert

OUT = (SnapshotState.PUBLISHED, SnapshotState.RETIRED)  # what the gate says no longer matters


class SqlSnapshots:
    """Snapshots over SQL; who publishes holds the index' one row to commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, snapshot: Snapshot) -> None:
        row = upsert(index_snapshots, is_sqlite=self._database.is_sqlite).values(_row(snapshot))
        async with self._database.write() as connection:
            await connection.execute(row.on_conflict_do_nothing())

    async def judge(self, name: str, version: str, state: SnapshotState, report: Json) -> None:
        is_it = _is(name, version)
        told = update(index_snapshots).where(is_it).values(report=json.dumps(report))
        judged = update(index_snapshots).where(is_it, index_snapshots.c.state.not_in(OUT))
        async with self._database.write() as connection:
            if not (await connection.execute(told)).rowcount:
                raise _unknown(name, version)
            await connection.execute(judged.values(state=state.value))

    async def publish(self, name: str, version: str, *, expected: int | None = None) -> Published:
        async with self._database.write() as connection:
            before = await self._locked(connection, name)
            if before.version == version:
                return before
            if expected not in {None, before.sequence}:
                raise PublishConflict(
                    f"expected publication {expected} of {name!r}, there is {before.sequence}"
                )
            await self._move(connection, name, before.version, version)
            after = Published(version, before.sequence + 1)
            row = update(indexes).where(indexes.c.name == name)
            await connection.execute(row.values(version=version, sequence=after.sequence))
            return after

    async def published(self, name: str) -> Published | None:
        row = select(indexes.c.version, indexes.c.sequence).where(indexes.c.name == name)
        async with self._database.read() as connection:
            found = (await connection.execute(row)).one_or_none()
        return Published(found.version, found.sequence) if found else None

    async def listed(self, name: str) -> list[Snapshot]:
        rows = select(index_snapshots).where(index_snapshots.c.name == name)
        columns = index_snapshots.c
        newest = rows.order_by(columns.created_at.desc(), columns.version.desc())
        async with self._database.read() as connection:
            return [_snapshot(row) for row in await connection.execute(newest)]

    async def remove(self, name: str, version: str) -> bool:
        served = exists().where(
            index_servings.c.name == name,
            index_servings.c.version == version,
            index_servings.c.until > self._database.now,
        )
        is_out = index_snapshots.c.state == SnapshotState.PUBLISHED.value
        unused = delete(index_snapshots).where(_is(name, version), ~is_out, ~served)
        async with self._database.write() as connection:
            return bool((await connection.execute(unused)).rowcount)

    async def _locked(self, connection: AsyncConnection, name: str) -> Published:
        """What is published; an empty version for nothing, on a row that only a success leaves."""
        first = upsert(indexes, is_sqlite=self._database.is_sqlite).values(
            name=name, version="", sequence=0
        )
        await connection.execute(first.on_conflict_do_nothing())
        row = select(indexes).where(indexes.c.name == name).with_for_update()
        found = (await connection.execute(row)).one()
        return Published(found.version, found.sequence)

    async def _move(self, connection: AsyncConnection, name: str, old: str, new: str) -> None:
        states = {"state": SnapshotState.PUBLISHED.value, "published_at": self._database.now}
        moved = update(index_snapshots).where(_is(name, new)).values(states)
        if not (await connection.execute(moved)).rowcount:
            raise _unknown(name, new)
        retired = update(index_snapshots).where(_is(name, old))
        await connection.execute(retired.values(state=SnapshotState.RETIRED.value))


def _is(name: str, version: str) -> ColumnElement[bool]:
    return (index_snapshots.c.name == name) & (index_snapshots.c.version == version)


def _unknown(name: str, version: str) -> SnapshotNotFound:
    return SnapshotNotFound(f"no snapshot {version!r} of the index {name!r}")


def _row(snapshot: Snapshot) -> dict[str, Any]:
    at = snapshot.published_at
    return {
        "name": snapshot.name,
        "version": snapshot.version,
        "state": snapshot.state.value,
        "items": snapshot.stats.items,
        "vectors": snapshot.stats.vectors,
        "size_bytes": snapshot.stats.size_bytes,
        "last_change": snapshot.last_change,
        "created_at": to_ms(snapshot.created_at),
        "published_at": None if at is None else to_ms(at),
        "report": json.dumps(snapshot.report),
    }


def _snapshot(row: Row[Any]) -> Snapshot:
    return Snapshot(
        name=row.name,
        version=row.version,
        state=SnapshotState(row.state),
        stats=IndexStats(row.items, row.vectors, row.size_bytes),
        created_at=from_ms(row.created_at),
        last_change=row.last_change,
        published_at=None if row.published_at is None else from_ms(row.published_at),
        report=json.loads(row.report),
    )
