"""Who is let in: the bearer of a token, or everybody where no key is configured."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from omma.domain.errors import RateLimited, TokenInvalid, TokenMissing
from omma.domain.tokens import DEMO, Principal
from omma.ports.tokens import TokenVerifier

REMEMBERED = 10_000  # subjects; one that is forgotten starts with a full bucket
SCHEME = "bearer"


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What one subject may ask of one replica."""

    requests_per_s: float = 200.0
    burst: int = 1000


class Gatekeeper:
    """Tells whose a token is, and how often its subject may come; without a verifier, nobody's."""

    def __init__(
        self,
        verifier: TokenVerifier | None,
        limits: RateLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verifier = verifier
        self._buckets = Buckets(limits or RateLimits(), clock)

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in, as the demo user."""
        return self._verifier is None

    async def admit(self, token: str | None) -> Principal:
        """The bearer of ``token``; raises what `TokenVerifier` does, `TokenMissing`, `RateLimited`.

        The demo user has no limits: it stands for everybody on this machine.
        """
        if self._verifier is None:
            return DEMO
        if not token:
            raise TokenMissing("expected the header Authorization: Bearer TOKEN")
        principal = await self._verifier.verify(token)
        self._buckets.take(principal.subject)
        return principal


class Buckets:
    """A bucket of requests for every subject, which fills by the second."""

    def __init__(self, limits: RateLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}  # level, when; who came last is last

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, subject: str) -> None:
        """One request out of the bucket; raises `RateLimited` when it is empty."""
        rate, burst = self._limits.requests_per_s, self._limits.burst
        now = self._clock()
        level, at = self._levels.pop(subject, (float(burst), now))
        level = min(burst, level + (now - at) * rate)
        is_empty = level < 1
        self._levels[subject] = (level if is_empty else level - 1, now)
        if len(self._levels) > REMEMBERED:
            del self._levels[next(iter(self._levels))]
        if is_empty:
            reason = f"expected at most {rate:g} requests per second, {burst} at once"
            raise RateLimited(reason, max(1, math.ceil((1 - level) / rate)))


def bearer(headers: Sequence[str]) -> str | None:
    """The token of the Authorization headers; None for none, and for another scheme's."""
    if not headers:
        return None
    if len(headers) > 1:
        raise TokenInvalid("expected one Authorization header")
    scheme, _, token = headers[0].strip().partition(" ")
    return token.strip() if scheme.lower() == SCHEME else None
