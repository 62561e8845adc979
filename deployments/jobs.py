"""Durable jobs on a replica: the runner and the chores, beside whatever else lives there."""

import asyncio
import os
import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress

import ray

from deployments.capabilities import Handles, open_capabilities
from deployments.chores import all_chores
from deployments.logs import adopt_logs
from deployments.metrics import OperationMetrics
from deployments.records import Records, open_records, require_shared
from omma.domain.errors import NotReady, StoreUnavailable
from omma.operations.registry import bind
from omma.ports.operations import JobHandler
from omma.services.attempts import Backoff
from omma.services.calls import Calls
from omma.services.chores import Chores
from omma.services.inputs import Inputs
from omma.services.runner import Runner, RunnerOptions
from omma.settings import Settings


class JobWork:
    """One runner and its chores, as tasks of this process' event loop."""

    def __init__(
        self, settings: Settings, records: Records, handlers: Mapping[str, JobHandler]
    ) -> None:
        name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"[:100]
        self._records = records
        self._runner = _runner(settings, records, handlers, name)
        chores = Chores(records.leases, name, all_chores(settings, records))
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
        """Claim no more, let work end or hand it back, leave chores to others."""
        self._runner.stop()
        self._chores.cancel()
        await asyncio.gather(self._running, self._chores, return_exceptions=True)


class JobRunner:
    """One replica that works on jobs; it is called by nobody."""

    async def __init__(self, settings: Settings, models: Handles) -> None:
        adopt_logs(settings.log)
        require_shared(settings, alive_nodes())
        self._settings = settings
        self._records = await open_records(settings)
        handlers = bind(open_capabilities(settings, models), observe=OperationMetrics().observe)
        self._work = JobWork(settings, self._records, handlers)

    def check_health(self) -> None:
        """Serve replaces a replica that raises here."""
        self._work.check()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What `deployments.scaling` reads; Serve asks for it every few seconds."""
        per_runner = self._settings.jobs.queued_per_runner
        return {**await self._work.load(), "per_runner": per_runner}

    async def __del__(self) -> None:
        await self._work.stop()
        await self._records.close()


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
