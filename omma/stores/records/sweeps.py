"""Folders that are due to be removed, and results that are due to be moved."""

from collections.abc import Sequence

from sqlalchemy import String, bindparam, cast, delete, exists, select, text, true, update

from omma.domain.jobs import JobId
from omma.stores.records.database import Database
from omma.stores.records.tables import jobs, queue, sweeps
from omma.stores.records.upserts import upsert

SECOND_LOOK_MS = 3_600_000  # a writer that was paused may write as late as that
UNMOVED = text("has_files AND NOT files_moved")  # word for word as its index says it


class SqlSweeps:
    """One row for each folder whose files might be nobody's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def intend(self, folders: Sequence[str], *, due_in_s: float) -> None:
        if not folders:
            return
        due_at = self._database.now + round(due_in_s * 1000)
        row = upsert(sweeps, is_sqlite=self._database.is_sqlite).values(
            folder=bindparam("name"), due_at=due_at, passes=0
        )
        anew = row.on_conflict_do_update(
            index_elements=[sweeps.c.folder],
            set_={"due_at": row.excluded.due_at, "passes": row.excluded.passes},
        )
        async with self._database.write() as connection:
            await connection.execute(anew, [{"name": folder} for folder in sorted(folders)])

    async def settled(self, folders: Sequence[str]) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(sweeps).where(sweeps.c.folder.in_(folders)))

    async def due(self, *, limit: int) -> list[str]:
        """Never one of an attempt that runs, however long it takes: it may yet complete."""
        folder = "attempts/" + queue.c.job_id + "/" + cast(queue.c.attempt, String)
        runs = exists().where(queue.c.dequeued_at.is_not(None), folder == sweeps.c.folder)
        late = (
            select(sweeps.c.folder)
            .where(sweeps.c.due_at <= self._database.now, ~runs)
            .order_by(sweeps.c.due_at)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return list(await connection.scalars(late))

    async def swept(self, folder: str) -> None:
        is_it = sweeps.c.folder == folder
        later = self._database.now + SECOND_LOOK_MS
        async with self._database.write() as connection:
            await connection.execute(delete(sweeps).where(is_it, sweeps.c.passes > 0))
            await connection.execute(update(sweeps).where(is_it).values(due_at=later, passes=1))

    async def unmoved(self, *, limit: int) -> list[tuple[JobId, int]]:
        rows = select(jobs.c.job_id, jobs.c.attempt).where(UNMOVED).order_by(jobs.c.id)
        async with self._database.read() as connection:
            found = await connection.execute(rows.limit(limit))
            return [(JobId(row.job_id), row.attempt) for row in found]

    async def moved(self, job_id: str, attempt: int) -> None:
        is_it = (jobs.c.job_id == job_id) & (jobs.c.attempt == attempt) & jobs.c.has_files
        async with self._database.write() as connection:
            await connection.execute(update(jobs).where(is_it).values(files_moved=true()))
