"""The queue of durable jobs by itself: no HTTP, no model, both databases.

``python -m benchmarks.queue [--jobs N] [--finished N]``; ``make bench`` takes the defaults.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from sqlalchemy import text

from benchmarks.report import report
from omma.domain.jobs import Completed, Hold, ImageRef, Submission
from omma.services.intake import new_id
from omma.stores.records.database import Database
from omma.stores.records.jobs import SqlJobStore
from omma.stores.records.migrations import upgrade
from omma.stores.records.queue import SqlJobQueue
from tests.postgres import SAFE, Postgres

OPERATION = "face_detection"
GATHERED = 16  # submissions that share a transaction, as concurrent calls do
WINDOW = 32  # jobs of one claim, as a runner's
LEASE_S = 600.0
ROUNDS = 30  # of claiming, for a median

COUNTED = {  # numbers up to :n, in each database's own words
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :n)",
    "postgresql": "WITH s AS (SELECT generate_series(1, CAST(:n AS INTEGER)) AS n)",
}
EARLIER_ID = {  # as `new_id` makes them
    "sqlite": "printf('%08x', 1500000000 + n) || lower(hex(randomblob(14)))",
    "postgresql": "to_hex(1500000000 + n) || substr(md5(CAST(n AS text)), 1, 28)",
}
FINISHED = """
INSERT INTO jobs (job_id, task_type, status, created_at, created_by, priority, images, result)
SELECT {id}, 'face_detection', 'completed', n, 'owner-' || (n % 10), 5, '[]', '{{}}'
FROM s
"""
THEIR_ATTEMPTS = """
INSERT INTO attempts (job_id, attempt, runner, started_at, ended_at, outcome)
SELECT job_id, 1, 'bench', created_at, created_at, 'completed'
FROM jobs WHERE created_by LIKE 'owner-%'
"""
THEIR_EVENTS = """
INSERT INTO events (seq, kind, job_id, created_by, at, data)
SELECT -id, 'job_completed', job_id, created_by, created_at, '{}'
FROM jobs WHERE created_by LIKE 'owner-%'
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """One database, with the stores over it."""

    kind: str
    database: Database
    store: SqlJobStore
    queue: SqlJobQueue

    async def submit(self, count: int) -> float:
        """Seconds for ``count`` submissions."""
        asked = [_submission() for _ in range(count)]
        begun = time.perf_counter()
        for first in range(0, count, GATHERED):
            await self.store.submit(asked[first : first + GATHERED], quota=10**6)
        return time.perf_counter() - begun

    async def claim(self) -> list[Hold]:
        """The holds of the jobs that come next."""
        claims = await self.queue.claim("bench", [OPERATION], limit=WINDOW, lease_s=LEASE_S)
        return [claimed.hold for claimed in claims]

    async def work_off(self) -> float:
        """Seconds until every waiting job was claimed and finished."""
        begun = time.perf_counter()
        while holds := await self.claim():
            await self.queue.settle([Completed(hold, {}) for hold in holds])
        return time.perf_counter() - begun

    async def claim_ms(self) -> float:
        """Median milliseconds of one claim of `WINDOW` jobs."""
        await self.submit(ROUNDS * WINDOW)
        took: list[float] = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            holds = await self.claim()
            took.append(1000 * (time.perf_counter() - begun))
            await self.queue.settle([Completed(hold, {}) for hold in holds])
        return statistics.median(took)

    async def finish(self, count: int) -> None:
        """Add so many jobs that ended long ago, with an attempt and an event of each."""
        jobs = COUNTED[self.kind] + FINISHED.format(id=EARLIER_ID[self.kind])
        async with self.database.migrate() as connection:  # it may take its time
            await connection.execute(text(jobs), {"n": count})
            await connection.execute(text(THEIR_ATTEMPTS))
            await connection.execute(text(THEIR_EVENTS))
        if self.kind == "postgresql":
            async with self.database.migrate() as connection:
                await connection.execute(text("CHECKPOINT"))
        os.sync()  # long ago: the disk has them


async def measure(kind: str, url: str, *, jobs: int, finished: int) -> dict[str, object]:
    """One row of the table."""
    async with opened(kind, url) as bench:
        await bench.submit(10 * GATHERED)
        await bench.work_off()  # connections are open and statements are prepared
        submitted_s = await bench.submit(jobs)
        worked_s = await bench.work_off()
        before_ms = await bench.claim_ms()
        await bench.finish(finished)
        after_ms = await bench.claim_ms()
    return {
        "what": kind,
        "submissions/s": jobs / submitted_s,
        "claim and finish/s": jobs / worked_s,
        f"claim of {WINDOW}, ms": before_ms,
        f"over {finished} finished, ms": after_ms,
        "times slower": after_ms / before_ms,
    }


@contextlib.asynccontextmanager
async def opened(kind: str, url: str) -> AsyncIterator[Bench]:
    """A migrated database and its stores."""
    database = Database(url, timeout_s=120)
    try:
        await upgrade(database)
        yield Bench(kind, database, SqlJobStore(database), SqlJobQueue(database))
    finally:
        await database.close()


@contextlib.contextmanager
def databases() -> Iterator[dict[str, str]]:
    """A URL of each kind; PostgreSQL as in production, with every commit on the disk."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Postgres(SAFE)) as server:
        yield {"sqlite": f"sqlite:///{folder}/omma.db", "postgresql": server.url}


def _submission() -> Submission:
    images = (ImageRef(url="https://example.org/picture.jpg"),)
    return Submission(new_id(), OPERATION, images, "bench")


def main() -> None:
    """Measure both, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--finished", type=int, default=1_000_000)
    chosen, _ = parser.parse_known_args()
    sizes = {"jobs": chosen.jobs, "finished": chosen.finished}
    with databases() as urls:
        rows = [asyncio.run(measure(kind, url, **sizes)) for kind, url in urls.items()]
    report("queue", f"The queue: {GATHERED} submissions a transaction", rows)


if __name__ == "__main__":
    main()
