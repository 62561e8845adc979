"""Tables for people and JSON for comparison, from the same rows."""

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path("var/bench")


def report(name: str, title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print ``rows`` as a table and write them, with the machine, to ``var/bench/NAME.json``."""
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    Console(width=140).print(table)
    RESULTS.mkdir(parents=True, exist_ok=True)
    body = {"measured_at": datetime.now(UTC).isoformat(), "machine": _machine(), "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(body, indent=2))


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _machine() -> dict[str, object]:
    return {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": sys.version.split()[0],
        "system": platform.platform(),
    }
