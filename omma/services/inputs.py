"""Where the images of jobs come from, and how many of them are in memory at once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from omma.domain.errors import TooManyBytes
from omma.domain.jobs import ImageRef
from omma.ports.blobs import BlobStore
from omma.ports.media import MediaStore
from omma.ports.urls import UrlFetcher


@dataclass(frozen=True, slots=True)
class Inputs:
    """Reads images by reference: from the media store, a URL, or an upload."""

    media: MediaStore
    urls: UrlFetcher
    blobs: BlobStore
    max_bytes: int
    reads: asyncio.Semaphore  # that run at once

    async def read(self, image: ImageRef) -> bytes:
        """Its bytes, as they came; raises an `OmmaError` that says why there are none."""
        async with self.reads:
            if image.media_store_id:
                return await self.media.fetch(image.media_store_id, max_bytes=self.max_bytes)
            if image.url:
                return await self.urls.fetch(image.url, max_bytes=self.max_bytes)
            return await self._upload(image.blob)

    async def _upload(self, path: str) -> bytes:
        if (await self.blobs.info(path)).size_bytes > self.max_bytes:
            raise TooManyBytes(f"expected at most {self.max_bytes} bytes")
        return await self.blobs.read(path)


class Room:
    """Space for so many images, given in the order in which it is asked for."""

    def __init__(self, images: int) -> None:
        self._images = images
        self._seats = asyncio.Semaphore(images)
        self._door = asyncio.Lock()

    @asynccontextmanager
    async def taken(self, images: int) -> AsyncGenerator[None]:
        """Have space for ``images``, or for as many as there can be."""
        taken = 0
        try:
            async with self._door:  # one at a time: two that wait for each other's seats never end
                while taken < min(images, self._images):
                    await self._seats.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._seats.release()
