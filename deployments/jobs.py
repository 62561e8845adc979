"""Durable jobs on a replica: the runner and the chores, beside whatever else lives there."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

import ray

from deployments.capabilities import Handles, open_capabilities
from deployments.chores import all_chores
from deployments.metrics import OperationMetrics
from deployments.naming import process_name
from deployments.nightly import nightly_chores
from deployments.records import Records, open_records, require_shared
from deployments.replica import enter_replica
from omma.domain.errors import NotReady, StoreUnavailable
from omma.domain.jobs import Job, Json, Submission
from omma.operations.registry import bind
from omma.ports.operations import JobHandler
from omma.services.attempts import Backoff
from omma.services.calls import Calls
from omma.services.chores import Chores
from omma.services.inputs import Inputs
from omma.services.intake import Intake, JobRules, Order, new_id
from omma.services.jobs import JobService
from omma.services.runner import Runner, RunnerOptions
from omma.settings import Settings

OWNER = "schedule"  # of jobs that no client asked for


class JobWork:
    """One runner and its chores, as tasks of this process' event loop."""

    def __init__(
        self, settings: Settings, records: Records, handlers: Mapping[str, JobHandler]
    ) -> None:
        name = process_name()
        self._records = records
        self._runner = _runner(settings, records, handlers, name)
        submit = partial(_submit, job_service(settings, records, handlers))
        chores = Chores(
            records.leases,
            name,
            [*all_chores(settings, records), *nightly_chores(settings, records, submit)],
        )
        self._running = asyncio.create_task(self._runner.run(), name="runner")
        self._chores = asyncio.create_task(chores.run(), name="chores")
        self._waiting = 0

    def check(self) -> None:
        """Raise `NotReady` when a loop has died, which it never should."""
        if self._running.done() or self._chores.done():
            raise NotReady("the job runner has died; its log says why")

    async def load(self) -> dict[str, float]:
        """What scaling looks at; the last known depth while the database is away."""
        with suppress(StoreUnavailable):
            self._waiting = await self._records.queue.depth()
        return {"waiting": self._waiting, "running": self._runner.running}

    async def stop(self) -> None:
        """Claim no more, let work end or hand it back, leave chores to others.

        Whoever waits for it may be cancelled and wait again: the work is not cancelled with them.
        """
        self._runner.stop()
        self._chores.cancel()
        await asyncio.wait([self._running, self._chores])


class JobRunner:
    """One replica that works on jobs; it is called by nobody."""

    async def __init__(self, settings: Settings, models: Handles) -> None:
        enter_replica(settings)
        require_shared(settings, alive_nodes())
        self._settings = settings
        self._records = await open_records(settings)
        self._opened = open_capabilities(settings, models, self._records)
        handlers = bind(self._opened.capabilities, observe=OperationMetrics().observe)
        self._work = JobWork(settings, self._records, handlers)

    def check_health(self) -> None:
        """Serve replaces a replica that raises here."""
        self._opened.check()
        self._work.check()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What `deployments.scaling` reads; Serve asks for it every few seconds."""
        per_runner = self._settings.jobs.queued_per_runner
        return {**await self._work.load(), "per_runner": per_runner}

    async def __del__(self) -> None:
        await self._work.stop()
        await self._opened.stop()
        await self._records.close()


def job_service(
    settings: Settings, records: Records, handlers: Mapping[str, JobHandler]
) -> JobService:
    """What takes jobs in, and tells of them."""
    jobs = settings.jobs
    rules = JobRules(jobs.quota, jobs.max_retries, jobs.max_images, jobs.max_batch_items)
    intake = Intake(handlers, records.files, rules)
    return JobService(records.jobs, records.control, records.batches, records.queue, intake)


async def _submit(jobs: JobService, operation: str, params: Json, key: str) -> Job:
    """A job without images that nobody asked for; the same key answers the same job."""
    asked = Submission(new_id(), operation, (), OWNER, params, idempotency_key=key)
    return await jobs.submit(Order(asked, ()))


def alive_nodes() -> int:
    """How many machines there are now."""
    return sum(node["Alive"] for node in ray.nodes())


def _runner(
    settings: Settings, records: Records, handlers: Mapping[str, JobHandler], name: str
) -> Runner:
    jobs = settings.jobs
    inputs = Inputs(
        media=records.media,
        urls=records.urls,
        blobs=records.blobs,
        max_bytes=settings.images.max_bytes,
        reads=asyncio.Semaphore(settings.urls.max_fetches),
    )
    options = RunnerOptions(
        name=name,
        window=jobs.window,
        chunk=min(jobs.chunk, jobs.window),
        poll_interval_s=jobs.poll_interval_s,
        lease_s=jobs.lease_s,
        drain_s=jobs.drain_s,
        backoff=Backoff(jobs.backoff_s, jobs.max_backoff_s),
        patience_s=jobs.patience_s,
    )
    calls = Calls(handlers, inputs, records.files, timeout_s=jobs.call_timeout_s)
    return Runner(records.queue, calls, options)
