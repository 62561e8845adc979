"""Files in an object store, S3 or alike; and which store a URL means."""

import asyncio
import logging
import os
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import MemoryStore, ObjectStore, S3Store

from omma.domain.errors import BlobNotFound, CannotStart, StoreFull, StoreUnavailable
from omma.ports.blobs import BlobInfo, FileBlobs
from omma.stores.folders import CHUNK, FILE_MODE, RETRY_AFTER_S, FolderBlobs, checked
from omma.stores.writing import name_durably

if TYPE_CHECKING:  # obstore's typed dicts exist for type checkers alone
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ClientConfig, RetryConfig, S3Config

log = logging.getLogger(__name__)

PART = 8 * 1024 * 1024  # bytes of a large file in one request; S3 takes 10,000 of them
PARTS_AT_ONCE = 4
SLOWEST = 1024 * 1024  # bytes/s: a file's time grows with its size

FULL = re.compile(r"\b507\b|StorageFull|QuotaExceeded|InsufficientStorage|No space left")


@dataclass(frozen=True, slots=True)
class S3Access:
    """How an S3-compatible server is reached; empty keys mean those of the environment."""

    endpoint: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    timeout_s: float = 30.0  # of one operation with its retries


def open_blobs(url: str, access: S3Access | None = None) -> FileBlobs:
    """The store that ``url`` means: s3://BUCKET[/PREFIX], memory:// or a folder."""
    parts = urlsplit(url)
    match parts.scheme:
        case "s3":
            access = access or S3Access()
            store = _s3(parts.netloc, parts.path.strip("/"), access)
            return ObjectBlobs(store, timeout_s=access.timeout_s)
        case "memory":
            return ObjectBlobs(MemoryStore())
        case "file" if parts.netloc in {"", "localhost"}:
            return _folder(unquote(parts.path))
        case _ if "://" in url:
            raise CannotStart(f"expected blobs at s3://BUCKET or in a folder, got {url!r}")
        case _:
            return _folder(url)


def _folder(path: str) -> FileBlobs:
    try:
        return FolderBlobs(Path(path))
    except StoreUnavailable as error:
        raise CannotStart(f"files cannot be kept in {path!r}: {error}") from None


def _s3(bucket: str, prefix: str, access: S3Access) -> ObjectStore:
    if not bucket:
        raise CannotStart("expected the name of a bucket: s3://BUCKET")
    try:
        return S3Store(
            bucket,
            prefix=prefix or None,
            config=_config(access),
            client_options=_client(access),
            retry_config=_retries(access),
        )
    except (BaseError, ValueError) as error:
        raise CannotStart(f"s3://{bucket} cannot be used: {_first_line(error)}") from None


def _config(access: S3Access) -> "S3Config":
    config: S3Config = {"region": access.region, "virtual_hosted_style_request": False}
    if access.endpoint:
        config["endpoint"] = access.endpoint
    if access.access_key_id:
        config["access_key_id"] = access.access_key_id
        config["secret_access_key"] = access.secret_access_key
    return config


def _client(access: S3Access) -> "ClientConfig":
    return {
        # Only to an endpoint that the operator wrote so: keys sign, yet files go in the clear.
        "allow_http": access.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=access.timeout_s / 10),
        "timeout": timedelta(seconds=access.timeout_s / 3),
    }


def _retries(access: S3Access) -> "RetryConfig":
    return {"max_retries": 2, "retry_timeout": timedelta(seconds=access.timeout_s / 2)}


class ObjectBlobs:
    """`FileBlobs` in whatever obstore speaks to; no operation takes longer than ``timeout_s``.

    Whole files may: a second more for each MiB.
    """

    def __init__(self, store: ObjectStore, *, timeout_s: float = 30.0) -> None:
        self._store = store
        self._timeout_s = timeout_s

    async def put(self, path: str, data: bytes) -> None:
        checked(path)
        async with self._bounded():  # what is not found is the bucket
            # In one piece: parts of an upload that was broken off would stay, unseen.
            await obstore.put_async(self._store, path, data, use_multipart=False)

    async def put_file(self, path: str, file: Path) -> None:
        checked(path)
        size = (await asyncio.to_thread(file.stat)).st_size
        async with self._bounded(size_bytes=size):
            await obstore.put_async(
                self._store, path, file,
                use_multipart=size > PART, chunk_size=PART, max_concurrency=PARTS_AT_ONCE,
            )  # fmt: skip

    async def get_file(self, path: str, file: Path) -> None:
        """In parts: a client's time-out counts for one request, and one that fails is repeated."""
        size = (await self.info(path)).size_bytes
        written = file.with_name(f"{uuid.uuid4().hex}.part")
        try:
            descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
            try:
                await self._get_parts(path, size, descriptor)
            finally:
                os.close(descriptor)
            await asyncio.to_thread(name_durably, written, file)
        finally:
            written.unlink(missing_ok=True)

    async def _get_parts(self, path: str, size: int, descriptor: int) -> None:
        turn = asyncio.Semaphore(PARTS_AT_ONCE)

        async def get(start: int) -> None:
            async with turn:
                part = await self.read(path, start=start, end=min(size, start + PART))
                await asyncio.to_thread(_write_at, descriptor, part, start)

        await _all([get(start) for start in range(0, size, PART)])

    async def info(self, path: str) -> BlobInfo:
        checked(path)
        async with self._bounded(path):
            return _info(await obstore.head_async(self._store, path))

    async def read(self, path: str, *, start: int = 0, end: int | None = None) -> bytes:
        checked(path)
        async with self._bounded(path):
            if (start, end) == (0, None):
                return await self._get(path, {})
            if end is not None and end <= start:
                return b""
            wanted: GetOptions = {"range": {"offset": start} if end is None else (start, end)}
            try:
                return await self._get(path, wanted)
            except BaseError:
                # It starts past the end, or the server answers it with 200, which obstore refuses.
                return (await self._get(path, {}))[start:end]

    async def _get(self, path: str, options: "GetOptions") -> bytes:
        found = await obstore.get_async(self._store, path, options=options)
        return bytes(await found.bytes_async())

    async def list(self, prefix: str) -> AsyncIterator[Sequence[BlobInfo]]:
        if prefix:
            checked(prefix)
        found = obstore.list(  # pyright: ignore[reportUnknownMemberType]  Arrow is not installed
            self._store, prefix or None, chunk_size=CHUNK
        )
        chunks = aiter(found)
        while True:
            async with self._bounded():
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield [_info(each) for each in chunk]

    async def move(self, source: str, target: str) -> None:
        checked(source)
        checked(target)
        async with self._bounded(source):
            await obstore.rename_async(self._store, source, target)

    async def delete(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        async with self._bounded():
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, [checked(path) for path in paths])

    @asynccontextmanager
    async def _bounded(self, path: str = "", *, size_bytes: int = 0) -> AsyncGenerator[None]:
        """One operation: in time, and its errors as ours."""
        try:
            async with asyncio.timeout(self._timeout_s + size_bytes / SLOWEST):
                yield
        except FileNotFoundError as error:
            if path:
                raise BlobNotFound(path) from None
            raise _unavailable(error) from None
        except (BaseError, TimeoutError) as error:
            raise _unavailable(error) from None


async def _all(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Wait for all; the first that fails ends the others, and is what is told."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _write_at(descriptor: int, data: bytes, start: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, start)
        left, start = left[written:], start + written


def _info(found: "ObjectMeta") -> BlobInfo:
    etag = (found["e_tag"] or "").strip('"')  # S3 quotes it in some answers and not in others
    return BlobInfo(found["path"], found["size"], etag, found["last_modified"])


def _unavailable(error: Exception) -> StoreUnavailable:
    """What clients read says nothing of where the store is; the log does."""
    if FULL.search(str(error)):
        return StoreFull("the blob store has no room left", RETRY_AFTER_S)
    log.warning("blob store failed", extra={"reason": _first_line(error)})
    return StoreUnavailable("the blob store does not answer", RETRY_AFTER_S)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
