"""The records of jobs as three adapters keep them, each by a clock that tests set."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from omma.domain.jobs import ImageRef, Submission
from omma.stores.records.batches import SqlBatchStore
from omma.stores.records.control import SqlJobControl
from omma.stores.records.database import Database
from omma.stores.records.deliveries import SqlDeliveries
from omma.stores.records.events import SqlEventLog
from omma.stores.records.jobs import SqlJobStore
from omma.stores.records.queue import SqlJobQueue
from omma.stores.records.sweeps import SqlSweeps
from tests.job_fakes import MemoryJobs

QUOTA = 1000


@dataclass
class SqlJobs:
    """The same facets as `MemoryJobs`, over one database."""

    url: str
    now_ms: int = 1_700_000_000_000
    media_store: bool = False
    default_callback: bool = False
    database: Database = field(init=False)

    def __post_init__(self):
        self.database = Database(self.url, clock=lambda: self.now_ms)
        self.store = SqlJobStore(self.database)
        self.control = SqlJobControl(self.database)
        self.batches = SqlBatchStore(self.database)
        self.queue = SqlJobQueue(
            self.database, default_callback=self.default_callback, media_store=self.media_store
        )
        self.log = SqlEventLog(self.database)
        self.sweeps = SqlSweeps(self.database)
        self.deliveries = SqlDeliveries(self.database)

    def advance(self, seconds):
        self.now_ms += round(seconds * 1000)


@asynccontextmanager
async def opened_records(kind, url_of, **options):
    """Records of a kind; ``url_of`` answers the URL of a fresh database."""
    if kind == "memory":
        yield MemoryJobs(**options)
        return
    records = SqlJobs(url_of(kind), **options)
    try:
        yield records
    finally:
        await records.database.close()


def submission(job_id, **more):
    """What somebody asks for who does not care about details."""
    asked = {"operation": "face_detection", "owner": "ada", "images": (ImageRef(url="https://x/"),)}
    return Submission(job_id, **asked | more)


async def submit(records, *job_ids, **more):
    """Submit jobs that are alike but for their ids, and see them accepted."""
    asked = [submission(job_id, **more) for job_id in job_ids]
    outcomes = await records.store.submit(asked, quota=QUOTA)
    assert [outcome.job_id for outcome in outcomes] == list(job_ids)
    return outcomes


async def claim(records, limit=1, runner="r1", lease_s=30.0, operations=("face_detection",)):
    """The holds of the jobs that come next."""
    claims = await records.queue.claim(runner, operations, limit=limit, lease_s=lease_s)
    return [claimed.hold for claimed in claims]


async def kinds(records, job_id=None):
    """What happened, in order."""
    return [event.kind.value for event in await records.log.after(0, limit=1000, job_id=job_id)]
