"""What the records and the files say once the work is over."""

import asyncio
import time
from functools import partial

from sqlalchemy import func, select

from omma.services.files import JobFiles
from omma.services.sweeper import Sweeper
from omma.stores.blobs import open_blobs
from omma.stores.records.jobs import SqlJobStore
from omma.stores.records.sweeps import SqlSweeps
from omma.stores.records.tables import attempts, events, jobs, queue
from tests.databases import opened

HOUR_MS = 3_600_000
ENDINGS = ("job_completed", "job_failed", "job_cancelled")


async def eventually(condition, patience_s=180.0):
    """Wait for a true answer of ``condition``, a coroutine function, and return it."""
    async with asyncio.timeout(patience_s):
        while True:
            if answer := await condition():
                return answer
            await asyncio.sleep(0.1)


async def gathered(collection, count):
    """Wait until there are so many."""

    async def is_there():
        return len(collection()) >= count

    await eventually(is_there)


async def all_ended(database, patience_s=180.0):
    async def is_empty():
        async with database.read() as connection:
            return not await connection.scalar(select(func.count()).select_from(queue))

    await eventually(is_empty, patience_s)


async def rows(database, table=jobs):
    async with database.read() as connection:
        return (await connection.execute(select(table))).all()


async def endings(database):
    """How many ending events each job has."""
    return await _counted(database, events.c.job_id, events.c.kind.in_(ENDINGS))


async def results(database):
    """How many attempts of each job brought its result."""
    return await _counted(database, attempts.c.job_id, attempts.c.outcome == "completed")


async def failures(database, code):
    """How many attempts of each job ended with the error of this code."""
    return await _counted(database, attempts.c.job_id, attempts.c.error_code == code)


async def lost(database):
    """How many attempts of each job came to nothing."""
    return await _counted(database, attempts.c.job_id, attempts.c.outcome != "completed")


async def runners_at_work(database):
    """The pids of those that hold jobs, or have died with them."""
    held = select(queue.c.worker_id).where(queue.c.dequeued_at.is_not(None)).distinct()
    async with database.read() as connection:
        names = (await connection.scalars(held)).all()
    return {int(name.partition(":")[0]) for name in names}


async def _counted(database, column, condition):
    query = select(column, func.count()).where(condition).group_by(column)
    async with database.read() as connection:
        return dict((await connection.execute(query)).all())


async def each_ended_once(database, ids):
    """Every job of ``ids``, and no other, is completed: one ending, one result."""
    once = dict.fromkeys(ids, 1)
    assert len(once) == len(ids)
    found = await rows(database)
    assert {row.job_id: row.status for row in found} == dict.fromkeys(ids, "completed")
    assert await endings(database) == once
    assert await results(database) == once


async def swept(database_url, folder):
    """What the chores do within hours, at once."""
    for hours in (0, 2, 4):
        late = partial(_ms_from_now, hours)
        async with opened(database_url, clock=late) as database:
            store, sweeps = SqlJobStore(database), SqlSweeps(database)
            sweeper = Sweeper(JobFiles(open_blobs(str(folder)), sweeps, store), sweeps, store)
            while await sweeper.run_once():
                pass


def _ms_from_now(hours):
    return round(time.time() * 1000) + hours * HOUR_MS


def files(folder):
    """Every file below ``folder``, by path."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
