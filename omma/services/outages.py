"""Which operations to leave in peace while something outside is away, and when to look again."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from omma.services.attempts import Backoff


@dataclass(slots=True)
class _Outage:
    probes: int
    until: float  # the next probe


class Outages:
    """An outage begins with work that failed for one, and ends with work that did not."""

    def __init__(self, backoff: Backoff, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._backoff = backoff
        self._clock = clock
        self._outages: dict[str, _Outage] = {}

    def well(self, operations: Collection[str]) -> list[str]:
        """Those that nothing is known against."""
        return [each for each in operations if each not in self._outages]

    def due(self) -> str:
        """The operation that is to be probed next, if its time has come; "" if none is."""
        name = min(self._outages, key=lambda each: self._outages[each].until, default="")
        return name if name and self._outages[name].until <= self._clock() else ""

    def began(self, operation: str) -> None:
        """Its work failed; nothing new where that is known: probes tell the time."""
        if operation not in self._outages:
            self._outages[operation] = _Outage(1, self._clock() + self._backoff.delay_s(1))

    def ended(self, operation: str) -> None:
        """Its work succeeded."""
        self._outages.pop(operation, None)

    def probed(self, operation: str, *, found: bool) -> None:
        """A few of its jobs are being tried, or there are none to try."""
        if outage := self._outages.get(operation):  # it may have ended meanwhile
            outage.probes += found
            outage.until = self._clock() + self._backoff.delay_s(outage.probes)
