"""Systems that keep media by id: one over HTTP, a local folder, none."""

import asyncio
import glob
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx

from omma.domain.errors import MediaDenied, MediaNotFound, MediaStoreUnreachable, TooManyBytes
from omma.domain.jobs import Json
from omma.stores.guards import is_encoded, is_final

ABSENT = {404, 410}
CREDENTIALS = {401, 403, 407}  # speak of who asks: an outage that an operator ends
SUCCESS = 2  # 2xx
WHOLE = 200  # 204 and 206 are successes without a file
LONGEST_ID = 200  # characters, as the records keep it
RETRY_AFTER_S = 5
HEADERS = {"accept-encoding": "identity", "user-agent": "omma"}  # limits count what is kept


class HttpMediaStore:
    """`MediaStore` behind a URL that the operator set; no redirect is followed."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(trust_env=False, timeout=timeout_s, headers=HEADERS)

    async def fetch(self, media_store_id: str, *, max_bytes: int) -> bytes:
        url = f"{self._url}/entity/{_quoted(media_store_id)}/file"
        async with self._in_time(), self._client.stream("GET", url) as response:
            status = response.status_code
            if status in ABSENT:
                raise MediaNotFound(f"the media store has no media {media_store_id!r}")
            if is_final(status) and status not in CREDENTIALS:
                raise MediaDenied(
                    f"the media store answers {media_store_id!r} with status {status}"
                )
            if status != WHOLE:
                raise _status(response)
            return await _body(response, max_bytes)

    async def post_result(self, media_store_id: str, result: Json) -> None:
        url = f"{self._url}/inference/results/{_quoted(media_store_id)}"
        body = json.dumps(dict(result), separators=(",", ":")).encode()
        headers = {"content-type": "application/json"}
        async with (
            self._in_time(),
            self._client.stream("POST", url, content=body, headers=headers) as response,
        ):
            if response.status_code // 100 != SUCCESS:
                raise _status(response)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def _in_time(self) -> AsyncGenerator[None]:
        """One deadline for everything up to the last byte."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except (TimeoutError, httpx.TimeoutException):
            raise _unreachable(f"did not answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise _unreachable(f"did not answer ({type(error).__name__})") from None


class FolderMediaStore:
    """`MediaStore` over a local folder: the file whose name, or name without suffix, is the id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def fetch(self, media_store_id: str, *, max_bytes: int) -> bytes:
        return await asyncio.to_thread(self._read, media_store_id, max_bytes)

    async def post_result(self, media_store_id: str, result: Json) -> None:
        """Nobody is there to be told: results stay with their jobs."""

    def _read(self, media_store_id: str, max_bytes: int) -> bytes:
        try:
            file = self._find(media_store_id)
            if file.stat().st_size > max_bytes:
                raise TooManyBytes(f"expected at most {max_bytes} bytes")
            return file.read_bytes()
        except OSError as error:
            raise _unreachable(f"is a folder that cannot be read: {error.strerror}") from None

    def _find(self, media_store_id: str) -> Path:
        is_name = media_store_id.isprintable() and not set(media_store_id) & set("/\\")
        if is_name and 0 < len(media_store_id) <= LONGEST_ID and media_store_id[0] != ".":
            others = sorted(self._folder.glob(f"{glob.escape(media_store_id)}.*"))
            for file in (self._folder / media_store_id, *others):
                if media_store_id in {file.name, file.stem} and file.is_file():
                    return file
        raise MediaNotFound(f"the media folder has no file {media_store_id[:LONGEST_ID]!r}")


class NoMediaStore:
    """`MediaStore` where none is configured."""

    async def fetch(self, media_store_id: str, *, max_bytes: int) -> bytes:
        del max_bytes
        raise MediaNotFound(f"no media store is configured to fetch {media_store_id!r} from")

    async def post_result(self, media_store_id: str, result: Json) -> None:
        del result
        raise _unreachable(f"of {media_store_id!r} is not configured any more")


def _quoted(media_store_id: str) -> str:
    """One segment of a path, whatever the id is made of."""
    if media_store_id.strip(".") and len(media_store_id) <= LONGEST_ID:
        return quote(media_store_id, safe="", errors="replace")
    raise MediaNotFound(f"no media can have the id {media_store_id[:LONGEST_ID]!r}")


def _status(response: httpx.Response) -> MediaStoreUnreachable:
    return _unreachable(f"answered with status {response.status_code}")


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    if is_encoded(response.headers.get("content-encoding", "")):
        raise _unreachable("answered with a Content-Encoding, which was not asked for")
    body = bytearray()
    if int(response.headers.get("content-length", 0)) <= max_bytes:  # h11 accepts digits only
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > max_bytes:
                break
        else:
            return bytes(body)
    raise TooManyBytes(f"expected at most {max_bytes} bytes")


def _unreachable(what: str) -> MediaStoreUnreachable:
    return MediaStoreUnreachable(f"the media store {what}", RETRY_AFTER_S)
