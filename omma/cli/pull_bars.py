"""Bars of a pull, one a package and one a model."""

from typing import Any

from rich.console import Console

from omma.cli.progress import LiveBars
from omma.domain.models import PullProgress

WORDS = {"download": "downloading", "store": "checking", "convert": "converting", "done": "ready"}


class PullBars(LiveBars):
    """One bar per package and per model of a pull; plain lines where there is no terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, "size", is_drawn=console.is_terminal)
        self._lines: set[str] = set()

    def __call__(self, event: PullProgress) -> None:
        """Show ``event``."""
        line = f"{WORDS[event.stage]} {event.subject}"
        if not self._console.is_terminal and line not in self._lines:
            self._console.print(line)
        self._lines.add(line)
        if event.subject not in self._tasks:
            self._tasks[event.subject] = self._bars.add_task(line, total=None, size="")
        self._bars.update(self._tasks[event.subject], description=line, **_amounts(event))


def _amounts(event: PullProgress) -> dict[str, Any]:
    """What a bar shows: bytes while they come, a pulse while nobody knows how long, then full."""
    match event.stage:
        case "download":
            size = f"{event.done_bytes / 1e6:.0f} of {event.total_bytes / 1e6:.0f} MB"
            return {"completed": event.done_bytes, "total": event.total_bytes, "size": size}
        case "done":
            return {"completed": 1, "total": 1}
        case _:
            return {}
