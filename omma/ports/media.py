"""What jobs need from the system that keeps the media."""

from typing import Protocol

from omma.domain.jobs import Json


class MediaStore(Protocol):
    """Keeps the originals by id, and is told what was found in them."""

    async def fetch(self, media_store_id: str, *, max_bytes: int) -> bytes:
        """The media's bytes.

        Raises `MediaNotFound`, `MediaDenied`, `TooManyBytes`, or `MediaStoreUnreachable`, which
        may pass.
        """
        ...

    async def post_result(self, media_store_id: str, result: Json) -> None:
        """Tell it a job's result, or raise `MediaStoreUnreachable`."""
        ...
