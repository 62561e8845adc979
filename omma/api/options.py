"""What the HTTP surface is given: services to call and limits to keep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from omma.api.admission import Admission
from omma.api.bodies import PACE, Pace
from omma.operations.declaring import BoundOperation
from omma.ports.status import SystemStatus
from omma.ports.urls import UrlFetcher
from omma.services.cards import CardService
from omma.services.events import EventFeed
from omma.services.faces import FaceService
from omma.services.files import JobFiles
from omma.services.images import ImageService
from omma.services.jobs import JobService
from omma.services.publishing import IndexService
from omma.services.tokens import Gatekeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a route may reach for."""

    faces: FaceService
    images: ImageService
    cards: CardService | None = None  # None where the feature is off
    urls: UrlFetcher
    status: SystemStatus
    jobs: JobService
    files: JobFiles
    feed: EventFeed
    gate: Gatekeeper
    operations: Mapping[str, BoundOperation]
    indexes: IndexService | None = None  # None where no index is served


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What a request may carry; pixels and frames are checked where images are opened."""

    max_bytes: int = 25 * 1024 * 1024
    max_images: int = 32
    max_request_bytes: int = 200 * 1024 * 1024  # of a batch, all images together
    pace: Pace = PACE


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Plain values, so that this layer needs no settings."""

    version: str = "dev"
    uploads: UploadLimits = field(default_factory=UploadLimits)
    cors_origins: tuple[str, ...] = ()
    max_interactive: int = 128  # images in work or waiting
    max_jobs: int = 64
    upload_share: float = 0.5  # of places and bytes, for the uploads of one subject
    max_bytes_in_work: int = 512 * 1024 * 1024
    max_fetches: int = 16  # URLs, at once
    retry_after_s: int = 1
    echo_request_id: bool = True  # False where the server in front already does


@dataclass(frozen=True, slots=True)
class Context:
    """What every route of one application shares."""

    services: Services
    options: ApiOptions
    admission: Admission


async def _context(request: Request) -> Context:  # async: a plain function would cost a thread
    return request.app.state.context


ContextOf = Annotated[Context, Depends(_context)]
