"""`python -m tests.drill.process runner|ingress`: one process of the drill, to be killed at will.

It is put together of what the product is put together of, from the same settings. Only Ray is
missing around it, and the model is a checksum that takes its time.
"""

import asyncio
import ctypes
import os
import signal
import sys
import uuid
from hashlib import sha256

import uvicorn
from pydantic import BaseModel

from deployments.chores import all_chores
from deployments.records import open_records
from omma.api.app import ApiOptions, build_api
from omma.operations.declaring import BoundOperation, Operation
from omma.ports.operations import Kept
from omma.services.attempts import Backoff
from omma.services.calls import Calls
from omma.services.chores import Chores
from omma.services.events import EventFeed, FeedOptions
from omma.services.inputs import Inputs
from omma.services.intake import Intake, JobRules
from omma.services.jobs import JobService
from omma.services.runner import Runner, RunnerOptions
from omma.settings import Settings
from tests.fakes import FakeUrlFetcher, capabilities
from tests.service_fakes import fake_services

WORK_S = 0.5  # of one call, whatever its size: who is killed shall be at work
PR_SET_PDEATHSIG = 1


class NoParams(BaseModel):
    """A checksum leaves nothing to choose."""


async def _run(_capabilities, images, _params, _lane):
    await asyncio.sleep(WORK_S)
    return [sha256(image).hexdigest() for image in images]


def _keep(digest, folder):
    result = {"sha256": digest, "path": f"{folder}/digest.bin"}
    return Kept(result, {"digest.bin": digest.encode()})


CHECKSUM = Operation(
    name="checksum",
    noun="files",
    verb="sum",
    summary="Add the bytes of a file up.",
    params=NoParams,
    run=_run,
    keep=_keep,
    measure=lambda digest: {"characters": len(digest)},
)


async def runner(settings):
    """Work on jobs, and do the chores, until killed."""
    records = await open_records(settings)
    name = f"{os.getpid()}:{uuid.uuid4().hex[:8]}"
    jobs = settings.jobs
    inputs = Inputs(records.media, FakeUrlFetcher(), records.blobs, 10_000, asyncio.Semaphore(8))
    calls = Calls(_handlers(), inputs, records.files)
    options = RunnerOptions(
        name, jobs.window, jobs.chunk, jobs.poll_interval_s, jobs.lease_s, jobs.drain_s,
        Backoff(jobs.backoff_s, jobs.max_backoff_s), patience_s=jobs.patience_s,
    )  # fmt: skip
    chores = Chores(records.leases, name, all_chores(settings, records), ttl_s=jobs.lease_s)
    await asyncio.gather(Runner(records.queue, calls, options).run(), chores.run())


async def ingress(settings):
    """Answer the routes of jobs until killed."""
    records = await open_records(settings)
    intake = Intake(_handlers(), records.files, JobRules(max_retries=settings.jobs.max_retries))
    jobs = JobService(records.jobs, records.control, records.batches, records.queue, intake)
    feed = EventFeed(records.events, records.jobs, FeedOptions())
    await feed.start()
    own = {"operations": _handlers(), "files": records.files, "jobs": jobs, "feed": feed}
    services = fake_services(**own)
    app = build_api(services, ApiOptions(max_jobs=1000))
    config = uvicorn.Config(app, port=settings.http.port, log_level="error", lifespan="off")
    await uvicorn.Server(config).serve()


def _handlers():
    return {CHECKSUM.name: BoundOperation(CHECKSUM, capabilities())}


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives the suite
    asyncio.run({"runner": runner, "ingress": ingress}[sys.argv[1]](Settings()))
