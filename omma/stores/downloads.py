"""Large files of the web in a folder that stays: unchanged ones are kept, broken ones continued."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from omma.domain.errors import SourceUnavailable, StoreFull, StoreUnavailable, TooManyBytes
from omma.stores.folders import FULL
from omma.stores.web import Again, Cause, PatientClient
from omma.stores.writing import name_durably, whole_file

WHOLE, PARTIAL, UNCHANGED, PAST_END = 200, 206, 304, 416
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
BLOCK = 1 << 20  # written at once, outside the event loop
RETRY_AFTER_S = 60


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a file that came from the web, whole or in part."""

    url: str
    stamp: str = ""  # what the source's own records say of its age
    etag: str = ""
    file: str = ""  # of a whole one: its name
    size_bytes: int = -1  # as it travels; -1 while nobody said

    def is_of(self, url: str, stamp: str) -> bool:
        """Whether it is this file in this state."""
        return self.url == url and self.stamp == stamp

    @property
    def is_strong(self) -> bool:
        """Whether its tag promises the same bytes, as a continuation needs."""
        return bool(self.etag) and not self.etag.startswith("W/")


class Downloads:
    """Files by name. One process at a time uses a folder."""

    def __init__(
        self, client: PatientClient, folder: Path, headers: Mapping[str, str] | None = None
    ) -> None:
        self._client = client
        self.headers = dict(headers or {})  # of every request
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def fetch(self, name: str, url: str, *, stamp: str = "", max_bytes: int) -> Path:
        """The whole file as it travelled, maybe packed; not asked for if ``stamp`` is the old one.

        `SourceUnavailable` where it does not come: the next call goes on from where this one ended.
        """
        kept = self._read(f"{name}.json")
        if kept is not None and stamp and kept.is_of(url, stamp):
            return self._folder / kept.file
        download = _Download(self, name, Origin(url, stamp), max_bytes)
        try:
            return await self._client.persist(
                lambda: download.run(kept), progress=lambda: download.size_bytes
            )
        except OSError as error:
            refused = StoreFull if error.errno in FULL else StoreUnavailable
            reason = f"{str(self._folder)!r} cannot be written: {error.strerror}"
            raise refused(reason, RETRY_AFTER_S) from None

    def drop(self, name: str) -> None:
        """Forget the file: it is not what it should be."""
        for path in self._folder.glob(f"{name}.*"):
            path.unlink(missing_ok=True)

    @property
    def client(self) -> PatientClient:
        """Who fetches."""
        return self._client

    def path(self, name: str) -> Path:
        """Where something of this name lies."""
        return self._folder / name

    def _read(self, name: str) -> Origin | None:
        """What was noted, if what it is about is there."""
        try:
            noted: dict[str, Any] = json.loads((self._folder / name).read_bytes())
            origin = Origin(**noted)
        except (OSError, ValueError, TypeError):
            return None
        return origin if (self._folder / origin.file).is_file() else None

    def noted_part(self, name: str) -> Origin | None:
        """Where a broken download came from."""
        return self._read(f"{name}.part.json")

    def note(self, name: str, origin: Origin) -> None:
        """Write down where the file comes from."""
        with whole_file(self._folder / name) as written:
            written.write_text(json.dumps(asdict(origin)))

    def keep(self, name: str, part: Path, origin: Origin) -> Path:
        """Name a whole file, and let go of the one before."""
        tag = hashlib.sha256(f"{origin.url} {origin.stamp} {origin.etag}".encode()).hexdigest()[:16]
        target = self._folder / f"{name}.{tag}.data"
        name_durably(part, target)
        self.note(f"{name}.json", replace(origin, file=target.name))
        self.path(f"{name}.part.json").unlink(missing_ok=True)
        for old in self._folder.glob(f"{name}.*.data"):
            if old != target:
                old.unlink(missing_ok=True)
        return target


class _Download:
    """One file on its way, over as many requests as it takes."""

    def __init__(self, downloads: Downloads, name: str, wanted: Origin, max_bytes: int) -> None:
        self._downloads = downloads
        self._name = name
        self._wanted = wanted
        self._max_bytes = max_bytes
        self._part = downloads.path(f"{name}.part")

    @property
    def size_bytes(self) -> int:
        """How much is there."""
        return self._part.stat().st_size if self._part.exists() else 0

    async def run(self, kept: Origin | None) -> Path:
        """One request; `Again` where it broke off."""
        begun = self._downloads.noted_part(self._name)
        headers = self._downloads.headers | self._conditions(begun, kept)
        async with self._downloads.client.stream(self._wanted.url, headers) as response:
            if response.status_code == UNCHANGED and kept is not None:
                self._downloads.note(f"{self._name}.json", replace(kept, stamp=self._wanted.stamp))
                return self._downloads.path(kept.file)
            start, origin = self._begin(response, begun)
            await self._receive(response, start)
        if self.size_bytes < origin.size_bytes:
            raise Again(
                Cause.BROKEN,
                f"the answer ended {origin.size_bytes - self.size_bytes} bytes too soon",
            )
        return await asyncio.to_thread(self._downloads.keep, self._name, self._part, origin)

    def _conditions(self, begun: Origin | None, kept: Origin | None) -> dict[str, str]:
        """Ask for the rest of what was begun, else for what is not there yet."""
        size = self.size_bytes
        wanted = self._wanted
        if begun is not None and begun.is_of(wanted.url, wanted.stamp) and begun.is_strong and size:
            return {"range": f"bytes={size}-", "if-range": begun.etag}
        if kept is not None and kept.url == wanted.url and kept.etag:
            return {"if-none-match": kept.etag}
        return {}

    def _begin(self, response: httpx.Response, begun: Origin | None) -> tuple[int, Origin]:
        """Where the body goes to in the file, and where it comes from."""
        if response.status_code == PAST_END:
            self._part.unlink(missing_ok=True)
            raise Again(Cause.BROKEN, "what was begun is longer than the file", 0)
        if response.status_code == PARTIAL and begun is not None:
            return self._continued(response), begun
        if response.status_code != WHOLE:
            host, status = response.url.host, response.status_code
            raise SourceUnavailable(f"{host} answered with status {status}", RETRY_AFTER_S)
        size = int(response.headers.get("content-length", -1))
        self._expect_room(size)
        origin = replace(
            self._wanted,
            etag=response.headers.get("etag", ""),
            file=self._part.name,
            size_bytes=size,
        )
        self._part.write_bytes(b"")
        self._downloads.note(f"{self._part.name}.json", origin)
        return 0, origin

    def _continued(self, response: httpx.Response) -> int:
        found = RANGE.fullmatch(response.headers.get("content-range", ""))
        if found is None or int(found[1]) != self.size_bytes:
            self._part.unlink(missing_ok=True)
            raise Again(Cause.BROKEN, "the rest that came is not the rest that was asked for", 0)
        self._expect_room(int(found[2]))
        return int(found[1])

    async def _receive(self, response: httpx.Response, start: int) -> None:
        """Write the body as it travels; what came before it breaks off stays."""
        with self._part.open("r+b") as file:
            file.seek(start)
            waiting = bytearray()
            try:
                async for block in response.aiter_raw():
                    waiting += block
                    self._expect_room(file.tell() + len(waiting))
                    if len(waiting) >= BLOCK:
                        full, waiting = waiting, bytearray()  # once, even if we are cancelled
                        await asyncio.to_thread(file.write, full)
            finally:
                file.write(waiting)

    def _expect_room(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise TooManyBytes(f"expected at most {self._max_bytes} bytes, got {size_bytes}")
