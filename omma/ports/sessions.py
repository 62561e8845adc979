"""What lets a phone take a picture whose result a computer waits for."""

from dataclasses import dataclass
from typing import Literal, NewType, Protocol

from omma.domain.jobs import Json

SessionId = NewType("SessionId", str)  # a random UUID: who knows it may use it


@dataclass(frozen=True, slots=True)
class SessionState:
    """How far a session is."""

    state: Literal["waiting", "done"]
    result: Json | None = None  # None while it waits


class CardSessions(Protocol):
    """Sessions by the database's clock. Every method may raise `StoreUnavailable`."""

    async def create(self, owner: str, *, ttl_s: float, max_open: int, max_own: int) -> SessionId:
        """Open one for ``ttl_s``.

        `QuotaExceeded` while ``max_open`` of all owners are open, or ``max_own`` of this one.
        """
        ...

    async def submit(self, session_id: str, result: Json) -> None:
        """Leave the result; a later one takes its place. `SessionNotFound` where none is open."""
        ...

    async def result(self, session_id: str) -> SessionState:
        """How far it is; `SessionNotFound` where none is open."""
        ...

    async def expire(self, limit: int) -> int:
        """Forget at most ``limit`` whose time is over; how many those were."""
        ...
