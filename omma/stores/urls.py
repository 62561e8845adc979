"""URLs that clients name, fetched without lending them our place in the network."""

import ssl
from dataclasses import dataclass

import httpcore
import httpx

from omma.domain.errors import TooManyBytes, UrlDenied, UrlUnreachable
from omma.stores.guards import (
    SUCCESS,
    CheckedNetwork,
    Resolver,
    in_time,
    is_encoded,
    is_final,
    parse_url,
    system_addresses,
    target_of,
)

REDIRECTS = {301, 302, 303, 307, 308}
HEADERS = (
    (b"accept", b"image/*, */*;q=0.5"),
    (b"accept-encoding", b"identity"),  # the byte limit is then on what we keep
    (b"connection", b"close"),
    (b"user-agent", b"omma"),
)


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How far a fetch may go."""

    timeout_s: float = 10.0
    max_redirects: int = 5
    allow_private: bool = False


class GuardedFetcher:
    """`UrlFetcher` that reaches public addresses only, within time and byte limits."""

    def __init__(
        self,
        limits: FetchLimits,
        *,
        resolver: Resolver = system_addresses,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._network = CheckedNetwork(resolver, allow_private=limits.allow_private)
        self._ssl_context = ssl_context or httpx.create_ssl_context()

    async def fetch(self, url: str, *, max_bytes: int) -> bytes:
        """One deadline holds for names, connections, redirects and the last byte."""
        async with in_time(self._limits.timeout_s):
            return await self._follow(parse_url(url), max_bytes)

    async def _follow(self, url: httpx.URL, max_bytes: int) -> bytes:
        # Proxies in the environment are ignored: one would resolve the name again, after our check.
        async with httpcore.AsyncConnectionPool(
            ssl_context=self._ssl_context,
            max_keepalive_connections=0,
            network_backend=self._network,
        ) as pool:
            for _ in range(self._limits.max_redirects + 1):
                match await _get(pool, url, max_bytes):
                    case bytes() as body:
                        return body
                    case httpx.URL() as url:
                        continue
        raise UrlUnreachable(f"expected at most {self._limits.max_redirects} redirects")


async def _get(
    pool: httpcore.AsyncConnectionPool, url: httpx.URL, max_bytes: int
) -> bytes | httpx.URL:
    """The body, or where to look instead."""
    headers = [(b"host", url.netloc), *HEADERS]
    async with pool.stream("GET", target_of(url), headers=headers) as response:
        answer = httpx.Headers(response.headers)
        if response.status in REDIRECTS and "location" in answer:
            return parse_url(answer["location"], url)
        if is_final(response.status):
            raise UrlDenied(f"expected a picture, got status {response.status}")
        if response.status // 100 != SUCCESS:
            raise UrlUnreachable(f"expected a picture, got status {response.status}")
        return await _body(response, answer, max_bytes)


async def _body(response: httpcore.Response, headers: httpx.Headers, max_bytes: int) -> bytes:
    if is_encoded(headers.get("content-encoding", "")):
        raise UrlUnreachable("expected an answer without Content-Encoding")
    if int(headers.get("content-length", 0)) > max_bytes:  # h11 accepts digits only
        raise TooManyBytes(f"expected at most {max_bytes} bytes")
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise TooManyBytes(f"expected at most {max_bytes} bytes")
    if not body:
        raise UrlUnreachable("expected a picture, got an empty answer")
    return bytes(body)
