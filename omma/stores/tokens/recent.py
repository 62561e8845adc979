"""What was found out a moment ago, remembered in bounded memory."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

from omma.ports.tokens import Blocklist

ASKED_AGAIN_S, REMEMBERED = 1.0, 10_000

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The newest ``size`` values, each for ``ttl_s`` after it was put."""

    def __init__(
        self, ttl_s: float, size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl_s = ttl_s
        self._size = size
        self._clock = clock
        self._values: dict[bytes, tuple[float, Value]] = {}  # in the order they were put

    def get(self, key: bytes) -> Value | None:
        """What was put under ``key``, unless that is too long ago."""
        at, value = self._values.get(key, (0.0, None))
        return value if value is not None and self._clock() - at < self._ttl_s else None

    def put(self, key: bytes, value: Value) -> None:
        """Remember ``value``, and forget the oldest where there are too many."""
        self._values.pop(key, None)
        self._values[key] = self._clock(), value
        while len(self._values) > self._size:
            del self._values[next(iter(self._values))]


class RecentBlocklist:
    """Asks another list at most once a second about the same token."""

    def __init__(self, inner: Blocklist, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner = inner
        self._recent: Recent[bool] = Recent(ASKED_AGAIN_S, REMEMBERED, clock)

    async def revoke(self, token_id: str, expires_at: datetime) -> None:
        await self._inner.revoke(token_id, expires_at)
        self._recent.put(token_id.encode(), value=True)

    async def is_revoked(self, token_id: str) -> bool:
        known = self._recent.get(token_id.encode())
        if known is None:
            known = await self._inner.is_revoked(token_id)
            self._recent.put(token_id.encode(), known)
        return known
