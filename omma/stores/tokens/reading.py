"""Reads a token and believes it: by its signature, its time and whom it is meant for."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from jwt import PyJWS, PyJWTError

from omma.domain.errors import TokenExpired, TokenInvalid
from omma.domain.tokens import Principal
from omma.stores.tokens.claims import Claims, parse_claims
from omma.stores.tokens.compact import Header, read_header
from omma.stores.tokens.keys import Key
from omma.stores.tokens.recent import Recent

REMEMBERED_S, REMEMBERED = 60.0, 4096  # verifying ES256 costs 100 µs, looking up 2 µs


class KeySource(Protocol):
    """Where keys come from."""

    async def keys(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """Those that a token of this algorithm and key id may be signed for."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """What else is asked of a token than a signature and its time."""

    issuer: str = ""
    audience: str = ""
    leeway_s: float = 10.0


class TokenReader:
    """Tries a token with the keys that it fits; the key decides the algorithm."""

    def __init__(
        self,
        sources: Sequence[KeySource],
        rules: Rules,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = sources
        self._rules = rules
        self._clock = clock
        self._jws = PyJWS()
        self._believed: Recent[Principal] = Recent(REMEMBERED_S, REMEMBERED)

    async def read(self, token: str) -> Principal:
        """Whom it names, revoked or not; raises `TokenInvalid`, `TokenExpired`."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        principal = self._believed.get(digest)
        if principal is None:
            principal = await self._verified(token)
            self._believed.put(digest, principal)
        self._refuse_expired(principal)
        return principal

    async def _verified(self, token: str) -> Principal:
        payload, algorithm = await self._signed(token, read_header(token))
        claims = parse_claims(payload)
        self._refuse_foreign(claims)
        self._refuse_early(claims)
        return claims.principal(algorithm)

    async def _signed(self, token: str, header: Header) -> tuple[bytes, str]:
        for source in self._sources:
            for key in await source.keys(header.alg, header.kid):
                try:
                    found = self._jws.decode_complete(token, key.material, [key.algorithm])
                except (PyJWTError, ValueError, TypeError, RecursionError):
                    continue
                return found["payload"], key.algorithm
        raise TokenInvalid("the token is not signed by a key that is trusted here")

    def _refuse_foreign(self, claims: Claims) -> None:
        if self._rules.issuer and claims.iss != self._rules.issuer:
            raise TokenInvalid("the token is of another issuer than the one trusted here")
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud or []
        if (self._rules.audience or audiences) and self._rules.audience not in audiences:
            raise TokenInvalid("the token is meant for another audience")

    def _refuse_early(self, claims: Claims) -> None:
        if max(claims.nbf, claims.iat) > self._clock() + self._rules.leeway_s:
            raise TokenExpired("the token's time has not come yet")

    def _refuse_expired(self, principal: Principal) -> None:
        ends = principal.expires_at
        if ends is None or ends.timestamp() + self._rules.leeway_s <= self._clock():
            raise TokenExpired("the token has expired")
