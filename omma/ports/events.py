"""What streams need from the record of events, and publication from a broker."""

from collections.abc import Sequence
from typing import Protocol

from omma.domain.events import Event
from omma.domain.jobs import JobId


class EventLog(Protocol):
    """Every event in the order of its commit. Appending is part of the jobs' own transactions."""

    async def last(self) -> int:
        """The highest sequence number so far; 0 for none."""
        ...

    async def changes(self) -> object:
        """Differs from the answer before where there are events since, now and then elsewhere.

        It costs far less than reading.
        """
        ...

    async def after(self, seq: int, *, limit: int, job_id: JobId | None = None) -> list[Event]:
        """Events above ``seq``, in order, of one job or of all."""
        ...

    async def prune(self, *, older_than_s: float, limit: int) -> int:
        """Remove old events; how many."""
        ...


class Cursors(Protocol):
    """How far readers that must not repeat themselves have come."""

    async def read(self, name: str) -> int | None:
        """The sequence number that was recorded last; None at the very first."""
        ...

    async def write(self, name: str, seq: int) -> None:
        """Record that everything up to ``seq`` is done; never goes back."""
        ...


class Broker(Protocol):
    """Somewhere outside that hears of every event."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Hand over all of them in order, or raise `BrokerUnreachable`."""
        ...

    async def close(self) -> None:
        """Say goodbye."""
        ...
