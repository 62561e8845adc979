"""The front door: HTTP routes and handle methods over one set of services."""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, TypeVar

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.capabilities import Handles, open_capabilities
from deployments.gate import open_gate, refuse_strangers
from deployments.jobs import JobWork, alive_nodes, job_service
from deployments.metrics import OperationMetrics
from deployments.records import Records, open_records, require_shared
from deployments.replica import enter_replica
from deployments.status import ServeStatus
from deployments.stopping import asked_to_stop
from omma.api.app import ApiOptions, Services, UploadLimits, build_api
from omma.api.bodies import Pace
from omma.domain.jobs import Job, Submission
from omma.operations.declaring import BoundOperation, Capabilities
from omma.operations.registry import bind, handle_methods
from omma.services.events import EventFeed, FeedOptions
from omma.services.intake import Order, Picture, new_id
from omma.services.publishing import IndexService
from omma.settings import Settings

Door = TypeVar("Door", bound=type)


def _with_operations(door: Door) -> Door:
    """``door`` with a method for every operation, by which handles call it."""
    for name, method in handle_methods().items():
        setattr(door, name, method)
    return door


@serve.ingress()
@_with_operations
class Ingress:
    """Holds the services; over them the FastAPI application and the handle methods."""

    async def __init__(
        self, settings: Settings, models: Handles, runner: DeploymentHandle[Any] | None
    ) -> None:
        del runner  # nobody calls it: it is bound here to be part of the application
        enter_replica(settings)
        refuse_strangers(settings.http.host, settings.auth)
        require_shared(settings, alive_nodes())
        self._settings = settings
        self._records = await open_records(settings)
        self._opened = open_capabilities(settings, models, self._records)
        capabilities = self._opened.capabilities
        self.operations = bind(capabilities, observe=OperationMetrics().observe)
        self._services = _services(settings, self._records, capabilities, self.operations)
        await self._services.feed.start()
        self._work: JobWork | None = None
        if settings.jobs.colocated:
            self._work = JobWork(settings, self._records, self.operations)
        self._watch = asyncio.create_task(self._end_in_time(), name="stopping")

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_api(self._services, _api_options(self._settings))

    async def submit_job(
        self, operation: str, *images: Picture, owner: str = "handle", **params: Any
    ) -> Job:
        """A new job over ``images``: encoded bytes, or references; ``params`` are its own."""
        asked = Submission(new_id(), operation, (), owner, params)
        return await self._services.jobs.submit(Order(asked, images))

    async def get_job(self, job_id: str) -> Job:
        """The job of this id, or `JobNotFound`."""
        return await self._services.jobs.get(job_id)

    def check_health(self) -> None:
        """Serve replaces a replica that raises here."""
        self._services.feed.check()
        self._opened.check()
        if self._work is not None:
            self._work.check()

    async def _end_in_time(self) -> None:
        await asked_to_stop()
        await self._end()

    async def _end(self) -> None:
        """End open streams, and work on jobs; what is asked of us until then is answered."""
        await self._services.feed.stop()
        if self._work is not None:
            await self._work.stop()

    async def __del__(self) -> None:
        self._watch.cancel()
        await self._end()
        await self._opened.stop()
        await self._records.close()


def _services(
    settings: Settings,
    records: Records,
    capabilities: Capabilities,
    operations: Mapping[str, BoundOperation],
) -> Services:
    jobs, events = job_service(settings, records, operations), settings.events
    told = FeedOptions(
        poll_interval_s=events.poll_interval_s,
        max_streams=events.max_streams,
        max_streams_per_subject=events.max_streams_per_subject,
        keep_alive_s=events.keep_alive_s,
        send_timeout_s=events.send_timeout_s,
    )
    return Services(
        faces=capabilities.faces,
        images=capabilities.images,
        cards=capabilities.cards,
        urls=records.urls,
        status=ServeStatus(),
        jobs=jobs,
        files=records.files,
        feed=EventFeed(records.events, records.jobs, told),
        gate=open_gate(settings.auth, records.blocklist),
        operations=operations,
        indexes=IndexService(records.snapshots, records.servings, records.snapshot_files, jobs)
        if settings.cards.enabled
        else None,
    )


def _api_options(settings: Settings) -> ApiOptions:
    images, admission = settings.images, settings.admission
    return ApiOptions(
        version=version("omma"),
        uploads=UploadLimits(
            images.max_bytes,
            images.max_images,
            images.max_request_bytes,
            Pace(images.upload_timeout_s, images.upload_bytes_per_s),
        ),
        cors_origins=settings.http.cors_origins,
        max_interactive=admission.max_interactive,
        max_jobs=admission.max_jobs,
        max_bytes_in_work=admission.max_bytes,
        upload_share=admission.upload_share,
        max_fetches=settings.urls.max_fetches,
        retry_after_s=admission.retry_after_s,
        echo_request_id=False,  # Serve itself does
    )
