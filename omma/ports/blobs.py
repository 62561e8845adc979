"""What services need to keep files: jobs' results, uploads, snapshots."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A file as a listing shows it."""

    path: str  # relative to the root, with slashes
    size_bytes: int
    etag: str = ""  # another one for other bytes
    modified_at: datetime | None = None


class BlobStore(Protocol):
    """Files by path. Every method may raise `StoreUnavailable`.

    `InvalidInput` for what is no path of a file: absolute, with empty parts, dots, backslashes.
    """

    async def put(self, path: str, data: bytes) -> None:
        """Write it whole and durably, or not at all; replaces what was there."""
        ...

    async def info(self, path: str) -> BlobInfo:
        """Its size, or `BlobNotFound`."""
        ...

    async def read(self, path: str, *, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``start`` to ``end`` of it, as a slice has them, or `BlobNotFound`."""
        ...

    def list(self, prefix: str) -> AsyncIterator[Sequence[BlobInfo]]:
        """Everything under the folder ``prefix``, in chunks; "" for all."""
        ...

    async def move(self, source: str, target: str) -> None:
        """Rename, replacing ``target``; `BlobNotFound` when ``source`` is not there."""
        ...

    async def delete(self, paths: Sequence[str]) -> None:
        """Remove them; what is not there is passed over."""
        ...


class FileBlobs(BlobStore, Protocol):
    """A blob store that takes and gives large files without holding them in memory."""

    async def put_file(self, path: str, file: Path) -> None:
        """`put` of what the local ``file`` holds."""
        ...

    async def get_file(self, path: str, file: Path) -> None:
        """Make the new local ``file`` of it, whole and durable, or `BlobNotFound`.

        It is to be read only: in a folder of the same file system it is another name of the blob.
        """
        ...


class Sweeps(Protocol):
    """The record of folders whose files might be nobody's: written before the first put.

    A row says from when its folder may be removed. Who makes the files somebody's takes the row
    away in the same transaction, so that a crash at any moment leaves either a row or an owner.
    """

    async def intend(self, folders: Sequence[str], *, due_in_s: float) -> None:
        """Files are about to be put there; unless `settled`, remove them after ``due_in_s``."""
        ...

    async def settled(self, folders: Sequence[str]) -> None:
        """Their files have moved on or are owned: nothing is left to sweep."""
        ...

    async def due(self, *, limit: int) -> list[str]:
        """Folders whose time has come."""
        ...

    async def swept(self, folder: str) -> None:
        """It was removed. Looked at once more later, since a paused writer may still write."""
        ...

    async def unmoved(self, *, limit: int) -> Sequence[tuple[str, int]]:
        """Job ids and attempts that completed with files not yet at their documented path."""
        ...

    async def moved(self, job_id: str, attempt: int) -> None:
        """The files of this completed attempt lie at their documented path."""
        ...
