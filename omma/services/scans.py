"""Sessions in which a phone scans cards and a computer reads what they are."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from omma.domain.errors import SessionNotFound
from omma.domain.jobs import Json
from omma.ports.sessions import CardSessions, SessionId, SessionState
from omma.services.intake import as_id
from omma.services.tokens import Buckets, RateLimits

EXPIRED_AT_ONCE = 1000  # that are forgotten when a new one is opened
RATE = RateLimits(requests_per_s=5.0, burst=20)  # of one session, on one replica


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """How long sessions stay open, and how many."""

    ttl_s: float = 55 * 60.0
    max_open: int = 10_000
    max_own: int = 200  # of one owner
    rate: RateLimits = RATE


class Scans:
    """What may be done with sessions; who knows the id of one may use it."""

    def __init__(
        self,
        sessions: CardSessions,
        limits: ScanLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._limits = limits or ScanLimits()
        self._buckets = Buckets(self._limits.rate, clock)

    async def open(self, owner: str) -> SessionId:
        """A new session; `QuotaExceeded` where too many are open."""
        limits = self._limits
        await self._sessions.expire(EXPIRED_AT_ONCE)
        return await self._sessions.create(
            owner, ttl_s=limits.ttl_s, max_open=limits.max_open, max_own=limits.max_own
        )

    async def state(self, session_id: str) -> SessionState:
        """How far it is; `SessionNotFound` for one that never was, and for one that is over."""
        return await self._sessions.result(_checked(session_id))

    async def enter(self, session_id: str) -> None:
        """Make sure that it is open; `RateLimited` where more is scanned than may be."""
        await self.state(session_id)
        self._buckets.take(_checked(session_id))

    async def leave(self, session_id: str, result: Json) -> None:
        """Let ``result`` be what is read from now on."""
        await self._sessions.submit(_checked(session_id), result)


def _checked(session_id: str) -> str:
    found = as_id(session_id)
    if found is None:
        raise SessionNotFound("no open session of this id")
    return found
