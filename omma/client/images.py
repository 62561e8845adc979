"""Faces, whole images and other operations, asked for from here."""

from collections.abc import Sequence
from typing import Any

import httpx
from pydantic import BaseModel

from omma.client.connection import Answer, Connection, read
from omma.wire.faces import BatchAnswer, DetectAnswer, DetectParams, EmbedAnswer, EmbedParams
from omma.wire.images import ImageEmbedAnswer, ImageEmbedParams

BYTES = {"content-type": "application/octet-stream"}  # the server looks at the bytes


class ImageCalls(Connection):
    """What one may ask about images that are sent along."""

    async def detect(self, image: bytes, params: DetectParams | None = None) -> DetectAnswer:
        """The faces of one encoded image."""
        answer = await self._post("detect", params, content=image, headers=BYTES)
        return read(DetectAnswer, answer)

    async def embed(self, image: bytes, params: EmbedParams | None = None) -> EmbedAnswer:
        """The same with embeddings."""
        answer = await self._post("embed", params, content=image, headers=BYTES)
        return read(EmbedAnswer, answer)

    async def embed_batch(
        self, images: Sequence[tuple[str, bytes]], params: EmbedParams | None = None
    ) -> BatchAnswer:
        """One result or error per named image, in the order given."""
        files = [("file", (_as_utf8(name), image)) for name, image in images]
        return read(BatchAnswer, await self._post("embed/batch", params, files=files))

    async def embed_image(
        self, image: bytes, params: ImageEmbedParams | None = None
    ) -> ImageEmbedAnswer:
        """Where a model places one encoded image as a whole."""
        path = "/api/v1/images/embed"
        return await self.run_operation(path, image, params=params, shape=ImageEmbedAnswer)

    async def run_operation(
        self, path: str, image: bytes, *, params: BaseModel | None, shape: type[Answer]
    ) -> Answer:
        """What the operation at ``path`` answers about one encoded image."""
        return read(shape, await self._post_to(path, params, content=image, headers=BYTES))

    async def _post(self, route: str, params: DetectParams | None, **body: Any) -> httpx.Response:
        return await self._post_to(f"/api/v1/faces/{route}", params, **body)

    async def _post_to(self, path: str, params: BaseModel | None, **body: Any) -> httpx.Response:
        query = params.model_dump(exclude_defaults=True) if params else {}
        return await self._ask("POST", path, params=query, **body)


def _as_utf8(name: str) -> str:
    """A file's name as forms can carry it; the server escapes other bytes in the same way."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
