"""Bars for what takes long."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class LiveBars:
    """Bars that are drawn while their block runs; what they show beside the bar is ``field``."""

    def __init__(self, console: Console, field: str, *, is_drawn: bool) -> None:
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"{{task.fields[{field}]}}"),
            TimeElapsedColumn(),
            console=console,
            disable=not is_drawn,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._bars.stop()
