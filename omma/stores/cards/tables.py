"""Tables of cards that people write: CSV or JSON, with errors that say where to look."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omma.domain.errors import SourceCorrupt

NAMES = ("cards.csv", "cards.json")
MAX_BYTES = 512 * 1024 * 1024
LONGEST_VALUE = 10_000  # characters


@dataclass(frozen=True, slots=True)
class Row:
    """One card's columns, and where they stand."""

    values: dict[str, str]
    place: str  # "cards.csv line 7"

    def get(self, column: str) -> str:
        """What it says, or nothing."""
        return self.values.get(column, "")

    def needed(self, column: str) -> str:
        """What it says; `SourceCorrupt` for nothing."""
        if value := self.get(column):
            return value
        raise self.fault(column, "expected a value, got none")

    def fault(self, column: str, message: str) -> SourceCorrupt:
        """An error about this place."""
        return SourceCorrupt(f"{self.place}, column {column!r}: {message}")


def find_table(folder: Path) -> Path | None:
    """The table, if there is one; two of them would contradict each other."""
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(found) > 1:
        raise SourceCorrupt(f"expected one of {' and '.join(NAMES)}, got both")
    return found[0] if found else None


def read_table(path: Path) -> Iterator[Row]:
    """Every card of the table."""
    if path.stat().st_size > MAX_BYTES:
        raise SourceCorrupt(f"expected at most {MAX_BYTES} bytes of {path.name}")
    try:
        yield from _read_json(path) if path.suffix == ".json" else _read_csv(path)
    except UnicodeDecodeError as error:
        raise SourceCorrupt(f"{path.name} is not UTF-8 at byte {error.start}") from None


def _read_csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        try:
            header = [column.strip() for column in next(lines, list[str]())]
            _check_header(header, path)
            for values in lines:
                if any(value.strip() for value in values):
                    yield _row(header, values, f"{path.name} line {lines.line_num}")
        except csv.Error as error:
            raise SourceCorrupt(f"{path.name} line {lines.line_num}: {error}") from None


def _check_header(header: list[str], path: Path) -> None:
    if missing := {"id", "image"} - set(header):
        raise SourceCorrupt(
            f"{path.name} line 1: expected a header with columns id and image, lacks"
            f" {', '.join(sorted(missing))}"
        )
    for column in header:
        if header.count(column) > 1 or not column:
            raise SourceCorrupt(f"{path.name} line 1: expected names that differ, got {column!r}")


def _row(header: list[str], values: list[str], place: str) -> Row:
    if len(values) != len(header):
        raise SourceCorrupt(f"{place}: expected {len(header)} columns, got {len(values)}")
    pairs = zip(header, values, strict=True)
    return _checked(Row({column: value.strip() for column, value in pairs}, place))


def _read_json(path: Path) -> Iterator[Row]:
    """An array of objects, or one object with such an array as ``cards``."""
    try:
        found: Any = json.loads(path.read_text("utf-8-sig"))
    except json.JSONDecodeError as error:
        place = f"{path.name} line {error.lineno}, character {error.colno}"
        raise SourceCorrupt(f"{place}: {error.msg}") from None
    cards: Any = cast("Any", found).get("cards") if isinstance(found, dict) else found
    if not isinstance(cards, list):
        raise SourceCorrupt(f"{path.name}: expected an array of cards")
    for number, card in enumerate(cast("list[Any]", cards), 1):
        place = f"{path.name} card {number}"
        if not isinstance(card, dict):
            raise SourceCorrupt(f"{place}: expected an object, got {type(card).__name__}")
        yield _checked(_read_object(cast("dict[str, Any]", card), place))


def _read_object(card: dict[str, Any], place: str) -> Row:
    row = Row({}, place)
    row.values.update({column: _text(value, column, row) for column, value in card.items()})
    return row


def _text(value: Any, column: str, row: Row) -> str:
    match value:
        case str():
            return value.strip()
        case None:
            return ""
        case bool() | int() | float():
            return json.dumps(value)
        case _:
            raise row.fault(column, f"expected a text or a number, got {type(value).__name__}")


def _checked(row: Row) -> Row:
    for column, value in row.values.items():
        if len(value) > LONGEST_VALUE:
            raise row.fault(column, f"expected at most {LONGEST_VALUE} characters")
    return row
