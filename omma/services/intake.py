"""Jobs on their way in: checked, and their uploads put where runners will find them."""

import asyncio
import hashlib
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from omma.domain.errors import (
    EmptyImage,
    InvalidInput,
    OperationNotFound,
    StoreUnavailable,
    TooManyImages,
)
from omma.domain.jobs import ImageRef, JobId, Submission, upload_folder
from omma.ports.operations import JobHandler

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DIGEST = 32  # hexadecimal digits
PUTS = 16  # uploads that one process writes at once

Picture = ImageRef | bytes


class UploadFiles(Protocol):
    """Where uploads are kept; `services.files.JobFiles` is one."""

    async def store_upload(self, job_id: JobId, name: str, data: bytes) -> str:
        """Put an image of a job that is about to be submitted, and answer its path."""
        ...

    async def remove_folder(self, folder: str) -> int:
        """Remove every file under it; how many those were."""
        ...

    async def remove_orphans(self) -> int:
        """Remove files that are nobody's; how many those were."""
        ...

    async def disk_usage(self) -> int:
        """Bytes of all files."""
        ...


@dataclass(frozen=True, slots=True)
class JobRules:
    """What a client may ask for."""

    quota: int = 20_000  # jobs of one owner that wait
    max_retries: int = 3
    max_images: int = 100  # of one job
    max_batch_items: int = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A job as it comes: its images are named, or here as bytes."""

    asked: Submission  # its images are those of ``pictures``
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class Intake:
    """Makes submissions of orders: parameters are checked, uploads put where runners find them."""

    handlers: Mapping[str, JobHandler]
    files: UploadFiles
    rules: JobRules = field(default_factory=JobRules)
    puts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PUTS))

    def handler(self, operation: str) -> JobHandler:
        """The operation of that name, or `OperationNotFound`."""
        if found := self.handlers.get(operation):
            return found
        names = ", ".join(sorted(self.handlers))
        raise OperationNotFound(f"no operation named {operation[:100]!r}; there are {names}")

    def check(self, order: Order) -> Order:
        """The order with its parameters complete; raises what is wrong with it."""
        asked, most = order.asked, self.rules.max_images
        handler = self.handler(asked.operation)
        params = handler.check(asked.params)
        if order.pictures and not handler.takes_images:
            raise InvalidInput(f"expected no image: {asked.operation} takes none")
        if handler.takes_images and not order.pictures:
            raise InvalidInput("expected an image: a file, a url or a media_store_id")
        if len(order.pictures) > most:
            raise TooManyImages(f"expected at most {most} images in one job")
        if b"" in order.pictures:
            raise EmptyImage("expected an image, got no bytes")
        asked = replace(asked, params=params, max_retries=self.rules.max_retries)
        return replace(order, asked=asked)

    async def store(self, order: Order) -> Submission:
        """The submission of a checked order; its uploads lie in the blob store then."""
        place = partial(self._place, order.asked)
        placed = await asyncio.gather(*(place(*each) for each in enumerate(order.pictures)))
        return replace(order.asked, images=tuple(placed))

    async def _place(self, asked: Submission, number: int, picture: Picture) -> ImageRef:
        if isinstance(picture, ImageRef):
            return picture
        async with self.puts:
            name = str(number)
            if asked.idempotency_key:  # another picture is another request
                name = f"{number}-{await asyncio.to_thread(_digest, picture)}"
            return ImageRef(blob=await self.files.store_upload(asked.job_id, name, picture))

    async def drop(self, asked: Submission) -> None:
        """Remove the uploads of a submission that came to nothing; the sweeper does the rest."""
        if any(image.blob for image in asked.images):
            with suppress(StoreUnavailable):
                await self.files.remove_folder(upload_folder(asked.job_id))


def _digest(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()[:DIGEST]


def new_id() -> JobId:
    """An id that nobody can guess: a UUID of 90 random bits behind the second.

    Ids of the same time lie side by side in every index: were they random altogether, each job
    would touch pages of its own, and the more jobs have ended, the slower new ones were claimed.
    """
    seconds = int(time.time()) & 0xFFFF_FFFF
    return JobId(f"{seconds:08x}{str(uuid.uuid4())[8:]}")


def as_id(text: str) -> str | None:
    """``text`` as ids are written; None for what can be none."""
    lower = text.lower()
    return lower if UUID.fullmatch(lower) else None
