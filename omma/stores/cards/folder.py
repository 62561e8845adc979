"""A folder of pictures, with or without a table that says more of them."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path

from omma.domain.cards import Card, CardFace, CardId
from omma.domain.errors import (
    EmptyImage,
    MediaNotFound,
    SourceCorrupt,
    SourceUnavailable,
    TooManyBytes,
    UrlUnreachable,
)
from omma.domain.indexes import SourcePlan
from omma.stores.cards.tables import Row, find_table, read_table

SUFFIXES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
)  # fmt: skip
CHUNK = 500  # cards
LONGEST_ID = 200  # characters
IMAGES_PER_S = 10.0  # looked at by one core
RETRY_AFTER_S = 60
KNOWN = (  # columns of a table that are fields of a card; others are kept beside them
    "id", "name", "image", "image_back", "set", "set_name", "collector_number", "illustration",
    "group", "layout", "released_at",
)  # fmt: skip


class FolderSource:
    """`CardSource` over a folder of this machine, out of which nothing leads."""

    def __init__(self, folder: Path, *, max_image_bytes: int, name: str = "folder") -> None:
        self._folder = folder
        self._max_image_bytes = max_image_bytes
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def plan(self) -> SourcePlan:
        return await asyncio.to_thread(self._plan)

    async def cards(self, work: Path) -> AsyncIterator[Sequence[Card]]:
        del work
        cards, some = self._cards(), False
        while chunk := await asyncio.to_thread(_take, cards):
            some = True
            yield chunk
        if not some:  # a folder that was not mounted must not empty the index
            raise SourceCorrupt(f"expected pictures in {str(self._folder)!r}, found none")

    async def image(self, face: CardFace) -> bytes:
        return await asyncio.to_thread(self._read, face.image_url)

    async def close(self) -> None:
        """Nothing is open."""

    def _plan(self) -> SourcePlan:
        sizes = [
            [self._inside(face.image_url).stat().st_size for face in card.faces]
            for card in self._cards()
        ]
        faces = sum(map(len, sizes))
        return SourcePlan(
            source=self.name,
            cards=len(sizes),
            faces=faces,
            new_images=faces,
            download_bytes=sum(map(sum, sizes)),
            hours=faces / (IMAGES_PER_S * (os.cpu_count() or 1)) / 3600,
            is_exact=True,
        )

    def _cards(self) -> Iterator[Card]:
        if not self._folder.is_dir():
            raise SourceUnavailable(f"{str(self._folder)!r} is no folder", RETRY_AFTER_S)
        table = find_table(self._folder)
        return self._listed() if table is None else self._described(table)

    def _listed(self) -> Iterator[Card]:
        """A card for every picture: its name without suffix is the card's id and name."""
        ids: dict[str, str] = {}
        for path in sorted(self._folder.iterdir()):
            if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                continue
            if path.stem in ids:
                raise SourceCorrupt(
                    f"expected names that differ before the dot, got {ids[path.stem]!r} and"
                    f" {path.name!r}"
                )
            ids[path.stem] = path.name
            row = Row({"id": path.stem, "name": path.stem, "image": path.name}, repr(path.name))
            yield self._card(row)

    def _described(self, table: Path) -> Iterator[Card]:
        seen: dict[str, str] = {}
        for row in read_table(table):
            card = self._card(row)
            if first := seen.get(card.card_id):
                raise row.fault("id", f"expected ids that differ, got that of {first} again")
            seen[card.card_id] = row.place
            yield card

    def _card(self, row: Row) -> Card:
        card_id = row.needed("id")
        if len(card_id) > LONGEST_ID or not card_id.isprintable():
            raise row.fault("id", f"expected at most {LONGEST_ID} printable characters")
        name = row.get("name") or card_id
        columns = ["image", *(["image_back"] if row.get("image_back") else [])]
        return Card(
            card_id=CardId(card_id),
            name=name,
            set_code=row.get("set"),
            set_name=row.get("set_name"),
            collector_number=row.get("collector_number"),
            layout=row.get("layout"),
            released_at=row.get("released_at"),
            faces=tuple(self._face(row, number, name) for number in range(len(columns))),
            extra={key: value for key, value in row.values.items() if key not in KNOWN},
        )

    def _face(self, row: Row, number: int, name: str) -> CardFace:
        column = ("image", "image_back")[number]
        image = row.needed(column)
        try:
            found = self._inside(image).stat()
        except MediaNotFound as error:
            raise row.fault(column, str(error)) from None
        art = row.get("illustration") or row.get("group")
        key = f"{found.st_size:x}-{found.st_mtime_ns:x}"
        return CardFace(number, name, image, key, f"{art}#{number}" if art and number else art)

    def _read(self, image: str) -> bytes:
        file = self._inside(image)
        try:
            if file.stat().st_size > self._max_image_bytes:
                raise TooManyBytes(f"expected at most {self._max_image_bytes} bytes")
            data = file.read_bytes()
        except OSError as error:
            raise UrlUnreachable(f"{image!r} cannot be read: {error.strerror}") from None
        if not data:
            raise EmptyImage(f"{image!r} has no bytes")
        return data

    def _inside(self, image: str) -> Path:
        """The file; links are followed as long as they stay below the folder."""
        try:
            root = self._folder.resolve(strict=True)
            file = (root / image).resolve(strict=True)
            is_inside = file.is_relative_to(root) and file.is_file()
        except (OSError, ValueError, RuntimeError):
            is_inside, file = False, self._folder
        if not is_inside:
            raise MediaNotFound(f"the folder has no file {image[:LONGEST_ID]!r}")
        return file


def _take(cards: Iterator[Card]) -> list[Card]:
    return list(islice(cards, CHUNK))
