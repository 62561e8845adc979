"""The smaller ports of the records, each in memory and on both databases."""

from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from omma.stores.records.cursors import SqlCursors
from omma.stores.records.deliveries import SqlDeliveries
from omma.stores.records.events import SqlEventLog
from omma.stores.records.jobs import SqlJobStore
from omma.stores.records.leases import SqlLeases
from omma.stores.records.queue import SqlJobQueue
from omma.stores.records.sweeps import SqlSweeps
from tests.databases import KINDS, opened
from tests.job_fakes import MemoryJobs


@pytest.fixture(params=["memory", *KINDS])
async def ports(request, clock):
    """Ports by their names in `MemoryJobs`; ``advance`` moves their clock on."""
    async with opened_ports(request.param, request, clock) as opened_ones:
        yield opened_ones


@asynccontextmanager
async def opened_ports(kind, request, clock):
    if kind == "memory":
        yield MemoryJobs(media_store=True)
        return
    url = request.getfixturevalue(f"{kind.removesuffix('ql')}_url")
    async with opened(url, clock=clock) as database:
        yield SimpleNamespace(
            leases=SqlLeases(database),
            cursors=SqlCursors(database),
            sweeps=SqlSweeps(database),
            deliveries=SqlDeliveries(database),
            store=SqlJobStore(database),
            queue=SqlJobQueue(database, media_store=True),
            log=SqlEventLog(database),
            advance=clock.advance,
        )
