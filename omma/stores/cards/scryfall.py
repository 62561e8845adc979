"""Cards of Scryfall, or of whoever speaks as its API does: bulk files, searches, pictures."""

import asyncio
import gzip
import io
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import ijson  # pyright: ignore[reportMissingTypeStubs]
import orjson

from omma.domain.cards import Card, CardFace
from omma.domain.errors import (
    MediaNotFound,
    OmmaError,
    SourceCorrupt,
    SourceFault,
    SourceUnavailable,
    TooManyBytes,
    UrlRefused,
    UrlTimeout,
    UrlUnreachable,
)
from omma.domain.indexes import SourcePlan
from omma.stores.cards.scryfall_cards import PICTURES, is_wanted, read_card
from omma.stores.downloads import Downloads
from omma.stores.web import RETRY_AFTER_S, Again, Cause, Pace, Patience, PatientClient

SEARCH = "search:"  # in place of a bulk file's name: what to ask /cards/search
CHUNK = 500  # cards
ABSENT = {404, 410}
WHOLE = 200
MAX_PAGE_BYTES = 64 * 1024 * 1024  # 175 cards have less than one
MAX_BULK_BYTES = 8 * 1024**3  # all_cards has 2.5 GB
BYTES_PER_CARD = 5_200  # of a bulk file: what an object takes, counted over all there are
WANTED = 0.8  # part of default_cards that is printed, English and no promotion
FACES_PER_CARD = 1.04
IMAGE_BYTES = {"png": 1_400_000, "large": 140_000, "normal": 80_000}  # on average
IMAGES_PER_S = 8.0  # fetched and looked at by one core
IMAGE_TRIES = 3  # in one go; the night after tries again
BUFFER = 1 << 18
BROKEN = (ijson.JSONError, ValueError, EOFError, OSError, zlib.error)
GZIP = b"\x1f\x8b"
JSON = {"accept": "application/json;q=0.9, */*;q=0.8"}
IMAGE = {"accept": "image/*, */*;q=0.5", "accept-encoding": "identity"}


@dataclass(frozen=True, slots=True)
class ScryfallOptions:
    """Whom to ask for what."""

    url: str = "https://api.scryfall.com"
    bulk: str = "default_cards"
    language: str = "en"
    contact: str = ""
    requests_per_s: float = 8.0
    max_image_bytes: int = 20 * 1024 * 1024
    pictures: Sequence[str] = PICTURES
    patience: Patience = field(default_factory=Patience)


class ScryfallSource:
    """`CardSource` over Scryfall's API."""

    def __init__(self, options: ScryfallOptions) -> None:
        self._options = options
        self._url = options.url.rstrip("/")
        self._client = PatientClient(self._url, contact=options.contact, patience=options.patience)
        self._pace = Pace(options.requests_per_s)

    @property
    def name(self) -> str:
        return "scryfall"

    async def plan(self) -> SourcePlan:
        if self._is_search:
            page = await self._object(self._search_url())
            cards, told = int(page.get("total_cards") or len(page["data"])), 0
            cards_bytes = cards * BYTES_PER_CARD
        else:
            entry = await self._bulk_entry()
            cards_bytes = told = int(entry.get("size") or 0)
            cards = round(told / BYTES_PER_CARD * WANTED)
        faces = round(cards * FACES_PER_CARD)
        image_bytes = IMAGE_BYTES.get(self._options.pictures[0], max(IMAGE_BYTES.values()))
        return SourcePlan(
            source=self.name,
            cards=cards,
            faces=faces,
            new_images=faces,
            download_bytes=cards_bytes + faces * image_bytes,
            hours=faces / (IMAGES_PER_S * (os.cpu_count() or 1)) / 3600,
            is_exact=False,
        )

    async def cards(self, work: Path) -> AsyncIterator[Sequence[Card]]:
        try:
            async for chunk in self._wanted(work):
                yield chunk
        except SourceCorrupt:
            Downloads(self._client, work).drop(self._file)  # it would be as broken the next time
            raise

    async def image(self, face: CardFace) -> bytes:
        """`SourceFault` where the server is down, busy or fails; else the picture is at fault."""
        return await self._client.persist(
            lambda: self._picture(face.image_url), tries=IMAGE_TRIES, failure=_picture_failure
        )

    async def close(self) -> None:
        await self._client.close()

    @property
    def _is_search(self) -> bool:
        return self._options.bulk.startswith(SEARCH)

    @property
    def _file(self) -> str:
        """What the bulk file is called in the folder for downloads."""
        return f"scryfall-{self._options.bulk}" if not self._is_search else "scryfall"

    async def _wanted(self, work: Path) -> AsyncGenerator[list[Card]]:
        count = 0
        async for page in self._found() if self._is_search else self._bulk(work):
            wanted = [each for each in page if is_wanted(each, self._options.language)]
            count += len(wanted)
            if wanted:
                yield [read_card(each, self._options.pictures) for each in wanted]
        if not count:  # an empty answer must not empty the index
            raise SourceCorrupt(f"expected cards of {self._options.bulk!r}, got none")

    async def _bulk_entry(self) -> Mapping[str, Any]:
        listed = await self._object(f"{self._url}/bulk-data")
        for entry in listed["data"]:
            if entry.get("type") == self._options.bulk:
                return entry
        types = ", ".join(sorted(str(entry.get("type")) for entry in listed["data"]))
        raise SourceCorrupt(f"expected a bulk file {self._options.bulk!r} among {types}")

    async def _bulk(self, work: Path) -> AsyncGenerator[list[Mapping[str, Any]]]:
        """The objects of the bulk file, which is downloaded if it is another than the last."""
        entry = await self._bulk_entry()
        with _refusals_told():
            file = await Downloads(self._client, work).fetch(
                self._file,
                str(entry.get("download_uri")),
                stamp=str(entry.get("updated_at") or ""),
                max_bytes=MAX_BULK_BYTES,
            )
        objects = _read_objects(file)
        try:
            while chunk := await asyncio.to_thread(_take, objects):
                yield chunk
        except BROKEN as error:
            raise SourceCorrupt(f"the bulk file is not whole: {error}") from None

    def _search_url(self) -> str:
        query = self._options.bulk.removeprefix(SEARCH).strip()
        return f"{self._url}/cards/search?{urlencode({'q': query, 'unique': 'prints'})}"

    async def _found(self) -> AsyncGenerator[list[Mapping[str, Any]]]:
        """Page by page what a search finds."""
        url, seen, count = self._search_url(), set[str](), 0
        while url not in seen:
            seen.add(url)
            page = await self._object(url)
            yield page["data"]
            count += len(page["data"])
            if not page.get("has_more"):
                break
            url = str(page.get("next_page"))
        else:
            raise SourceCorrupt("expected another page, got one that was read before")
        if count < int(page.get("total_cards") or 0):
            raise SourceCorrupt(f"expected {page['total_cards']} cards, got {count}")

    async def _object(self, url: str) -> dict[str, Any]:
        """A list of the API's, at the pace it asks for."""
        with _refusals_told():
            body = await self._client.persist(lambda: self._page(url))
        return _list_object(body, httpx.URL(url).host)

    async def _page(self, url: str) -> bytes:
        await self._pace.wait()
        async with self._client.stream(url, JSON) as response:
            if response.status_code != WHOLE:
                status = response.status_code
                host = response.url.host  # a job's error is read by whoever knows its id
                raise SourceUnavailable(f"{host} answered with status {status}", RETRY_AFTER_S)
            return await _body(response.aiter_bytes(), MAX_PAGE_BYTES)

    async def _picture(self, url: str) -> bytes:
        try:
            async with (
                asyncio.timeout(self._options.patience.timeout_s),
                self._client.stream(url, IMAGE) as response,
            ):
                _expect_picture(response)
                return await _body(response.aiter_bytes(), self._options.max_image_bytes)
        except TimeoutError:
            reason = f"expected a picture within {self._options.patience.timeout_s:g} s"
            raise Again(Cause.SILENT, reason) from None


def _list_object(body: bytes, host: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = dict(orjson.loads(body))
        data: list[Any] = list(found["data"])
    except (ValueError, TypeError, KeyError) as error:
        raise SourceCorrupt(f"expected a list object of {host}: {error!r}") from None
    if not all(isinstance(each, dict) for each in data):
        raise SourceCorrupt(f"expected a list of objects of {host}")
    return found


def _expect_picture(response: httpx.Response) -> None:
    if response.status_code in ABSENT:
        raise MediaNotFound(f"{response.url.host} has no such picture")
    if response.status_code != WHOLE:
        raise UrlUnreachable(f"expected a picture, got status {response.status_code}")


async def _body(blocks: AsyncIterator[bytes], max_bytes: int) -> bytes:
    body = bytearray()
    async for block in blocks:
        body += block
        if len(body) > max_bytes:
            raise TooManyBytes(f"expected at most {max_bytes} bytes")
    if not body:
        raise UrlUnreachable("expected a body, got an empty answer")
    return bytes(body)


def _picture_failure(again: Again) -> OmmaError:
    """Whether the server is at fault, or this one picture."""
    if again.cause in {Cause.BUSY, Cause.DOWN, Cause.FAULT}:
        return SourceFault(again.reason, RETRY_AFTER_S)
    if again.cause is Cause.SILENT:
        return UrlTimeout(again.reason)
    return UrlUnreachable(again.reason)


def _read_objects(file: Path) -> Generator[Any]:
    """Card objects one by one, of an array or of a list object, packed or not."""
    with file.open("rb") as raw:
        head = raw.read(len(GZIP))
        raw.seek(0)
        unpacked = gzip.GzipFile(fileobj=raw) if head == GZIP else raw
        with io.BufferedReader(unpacked, BUFFER) as opened:  # pyright: ignore[reportArgumentType]
            prefix = "item" if opened.peek(64).lstrip()[:1] == b"[" else "data.item"
            yield from ijson.items(opened, prefix, use_float=True)


def _take(objects: Iterator[Any]) -> list[Mapping[str, Any]]:
    chunk = list(islice(objects, CHUNK))
    if not all(isinstance(each, dict) for each in chunk):
        raise ValueError("expected an object for every card")
    return chunk


@contextmanager
def _refusals_told() -> Generator[None]:
    """A URL of the source's that leads nowhere is the source's fault."""
    try:
        yield
    except (UrlRefused, UrlUnreachable, TooManyBytes) as error:
        raise SourceCorrupt(f"the source leads astray: {error}") from None
