"""Files in a local folder: whole or not there, durable once put, for their owner's eyes only."""

import asyncio
import errno
import io
import os
import shutil
import stat
import uuid
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn

from omma.domain.errors import BlobNotFound, InvalidInput, StoreFull, StoreUnavailable
from omma.ports.blobs import BlobInfo

FOLDER_MODE, FILE_MODE = 0o700, 0o600
LONGEST_PATH, LONGEST_NAME = 1000, 200  # bytes; S3 takes 1,024, most file systems names of 255
CHUNK = 1000  # files of a listing
TRIES = 5  # of putting into a folder that others remove while it is empty
FULL = {errno.ENOSPC, errno.EDQUOT}
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}  # here is no hard link to be had
COPIED = 1024 * 1024  # bytes at a time
RETRY_AFTER_S = 5


def checked(path: str) -> str:
    """``path``, or `InvalidInput` where it is no path of a file below a root."""
    names = path.split("/")
    is_plain = all(name not in {"", ".", ".."} for name in names) and "\\" not in path
    is_short = len(path.encode("utf-8", "replace")) <= LONGEST_PATH and all(
        len(name.encode("utf-8", "replace")) <= LONGEST_NAME for name in names
    )
    if not (is_plain and is_short and path.isprintable()):
        raise InvalidInput(f"expected a relative path of a file, got {path[:LONGEST_NAME]!r}")
    return path


class FolderBlobs:
    """`BlobStore` in a folder of this machine.

    A file that is being written lies beside its target and shows in listings, so that what a
    killed process leaves is swept with its folder.
    """

    def __init__(self, root: Path) -> None:
        with _translated():
            root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._root = root.resolve(strict=True)

    async def put(self, path: str, data: bytes) -> None:
        await asyncio.to_thread(self._put, checked(path), data)

    async def put_file(self, path: str, file: Path) -> None:
        await asyncio.to_thread(self._put_file, checked(path), file)

    async def get_file(self, path: str, file: Path) -> None:
        await asyncio.to_thread(self._get_file, checked(path), file)

    async def info(self, path: str) -> BlobInfo:
        return await asyncio.to_thread(self._info, checked(path))

    async def read(self, path: str, *, start: int = 0, end: int | None = None) -> bytes:
        return await asyncio.to_thread(self._read, checked(path), start, end)

    async def list(self, prefix: str) -> AsyncIterator[Sequence[BlobInfo]]:
        files = self._walk(checked(prefix) if prefix else "")
        while chunk := await asyncio.to_thread(_take, files):
            yield chunk

    async def move(self, source: str, target: str) -> None:
        await asyncio.to_thread(self._move, checked(source), checked(target))

    async def delete(self, paths: Sequence[str]) -> None:
        await asyncio.to_thread(self._delete, [checked(path) for path in paths])

    def _put(self, path: str, data: bytes) -> None:
        self._put_read(path, io.BytesIO(data))

    def _put_file(self, path: str, file: Path) -> None:
        with file.open("rb") as read:
            self._put_read(path, read)

    def _put_read(self, path: str, read: BinaryIO) -> None:
        target = self._inside(path)
        written = target.with_name(f"{uuid.uuid4().hex}.part")
        with _translated():
            try:
                _write(self._make_room(written), read)
                os.replace(written, target)  # rename is atomic: readers see old or new, never half
            finally:
                written.unlink(missing_ok=True)
            _sync_folder(target.parent)

    def _make_room(self, file: Path) -> int:
        """An empty new file; its folder may be removed as an empty one in the same moment."""
        for _ in range(TRIES):
            self._make_folder(file.parent)
            with suppress(FileNotFoundError):
                return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        raise StoreUnavailable("a folder vanishes as often as it is made", RETRY_AFTER_S)

    def _make_folder(self, folder: Path) -> None:
        missing = [each for each in (folder, *folder.parents) if not each.is_dir()]
        for each in reversed(missing):
            with suppress(FileExistsError, FileNotFoundError):
                each.mkdir(mode=FOLDER_MODE)
                _sync_folder(each.parent)

    def _get_file(self, path: str, file: Path) -> None:
        with _translated(path):
            source = self._inside(path)
            try:
                os.link(source, file)  # at once and for nothing: files are never written again
            except OSError as error:
                if error.errno not in NO_LINK:
                    raise
                with source.open("rb") as read:
                    _write(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), read)
            _sync_folder(file.parent)

    def _info(self, path: str) -> BlobInfo:
        with _translated(path):
            return _describe(self._inside(path), path)

    def _read(self, path: str, start: int, end: int | None) -> bytes:
        with _translated(path), self._inside(path).open("rb") as file:
            file.seek(start)
            return file.read(-1 if end is None else max(0, end - start))

    def _walk(self, prefix: str) -> Generator[BlobInfo]:
        with suppress(BlobNotFound), _translated():
            folder = self._inside(prefix) if prefix else self._root
            for parent, _, names in os.walk(folder, onerror=_unless_absent):
                below = parent[len(str(self._root)) + 1 :]
                for name in names:
                    path = f"{below}/{name}" if below else name
                    with suppress(FileNotFoundError, BlobNotFound):
                        yield _describe(f"{parent}/{name}", path)

    def _move(self, source: str, target: str) -> None:
        taken, given = self._inside(source), self._inside(target)
        with _translated(source):
            for _ in range(TRIES):
                self._make_folder(given.parent)
                with suppress(FileNotFoundError):
                    os.replace(taken, given)
                    _sync_folder(given.parent)
                    self._remove_empty(taken.parent)
                    return
                if not taken.exists():
                    raise BlobNotFound(source)
        raise StoreUnavailable("a folder vanishes as often as it is made", RETRY_AFTER_S)

    def _delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            with suppress(BlobNotFound), _translated(path):
                file = self._inside(path)
                file.unlink()
                self._remove_empty(file.parent)

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):  # not empty, or somebody else was faster
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent

    def _inside(self, path: str) -> Path:
        """Where the file lies; links are not followed, so that nothing leads out of the root."""
        file = self._root / path
        if os.path.realpath(file) != str(file):
            raise BlobNotFound(path)
        return file


def _describe(file: str | Path, path: str) -> BlobInfo:
    found = os.lstat(file)
    if not stat.S_ISREG(found.st_mode):
        raise BlobNotFound(path)
    etag = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
    return BlobInfo(path, found.st_size, etag, datetime.fromtimestamp(found.st_mtime, UTC))


def _write(descriptor: int, read: BinaryIO) -> None:
    with open(descriptor, "wb") as file:
        shutil.copyfileobj(read, file, COPIED)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the names in it durable; one that was removed meanwhile has none."""
    with suppress(FileNotFoundError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _take(files: Generator[BlobInfo]) -> list[BlobInfo]:
    return list(islice(files, CHUNK))


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, ABSENT):
        raise error


@contextmanager
def _translated(path: str = "") -> Generator[None]:
    try:
        yield
    except ABSENT as error:
        if path:
            raise BlobNotFound(path) from None
        _refuse(error)
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    if error.errno in FULL:
        raise StoreFull("the blob store has no room left", RETRY_AFTER_S) from None
    raise StoreUnavailable(
        f"the blob store's folder cannot be used: {error.strerror}", RETRY_AFTER_S
    ) from None
