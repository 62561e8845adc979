"""Keys that an issuer publishes at a URL."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from omma.domain.errors import CannotStart, StoreUnavailable
from omma.domain.hosts import is_loopback
from omma.stores.tokens.keys import ES256, Key, parse_key_set

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
MOST_BYTES = 256 * 1024
SUCCESS = 200


@dataclass(frozen=True, slots=True)
class Patience:
    """How often an issuer is asked."""

    unknown_s: float = 60.0  # for a key that nobody knows: anyone may name one
    stale_s: float = 600.0  # so that a key which was withdrawn is forgotten
    retry_s: float = 5.0  # while there are none at all


class PublishedKeys:
    """The keys of a JSON Web Key Set at a URL; the last that came serve while it is down."""

    def __init__(
        self,
        url: str,
        *,
        patience: Patience | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._patience = patience or Patience()
        self._transport = transport
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        self._asked_at = self._loaded_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None  # one at a time, whoever waits for it

    async def keys(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """Those that fit; raises `StoreUnavailable` as long as none ever came."""
        if algorithm != ES256:
            return ()
        found = self._fitting(kid)
        if self._is_due(is_known=bool(found)):
            self._asked_at = self._clock()
            self._fetch = asyncio.create_task(self._refresh())
        if not found and self._fetch is not None:
            await asyncio.shield(self._fetch)  # who goes away does not stop it for the others
            found = self._fitting(kid)
        if not self._keys:
            raise StoreUnavailable(
                "the issuer's keys cannot be read", round(self._patience.retry_s)
            )
        return found

    def _fitting(self, kid: str | None) -> list[Key]:
        return [key for key in self._keys if key.fits(ES256, kid)]

    def _is_due(self, *, is_known: bool) -> bool:
        if self._fetch is not None and not self._fetch.done():
            return False
        asked_s = self._clock() - self._asked_at
        if not self._keys:
            return asked_s >= self._patience.retry_s
        is_stale = self._clock() - self._loaded_at >= self._patience.stale_s
        return asked_s >= self._patience.unknown_s and (is_stale or not is_known)

    async def _refresh(self) -> None:
        try:
            self._keys = parse_key_set(await self._get(), self._url)
        except (httpx.HTTPError, OSError, CannotStart) as error:
            kept = {"reason": str(error) or type(error).__name__, "kept": len(self._keys)}
            log.warning("could not read the issuer's keys", extra=kept)
        else:
            self._loaded_at = self._clock()

    async def _get(self) -> bytes:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx.AsyncClient(
                timeout=TIMEOUT_S,
                transport=self._transport,
                trust_env=not is_loopback(httpx.URL(self._url).host),
            ) as http,
            http.stream("GET", self._url, headers={"accept": "application/json"}) as answer,
        ):
            if answer.status_code != SUCCESS:
                raise CannotStart(f"expected status {SUCCESS}, got {answer.status_code}")
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise CannotStart(f"expected at most {MOST_BYTES} bytes")
        return bytes(body)
