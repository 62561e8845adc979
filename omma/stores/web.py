"""A client for servers that the operator chose: patient, polite, and led nowhere else."""

import asyncio
import email.utils
import math
import random
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv4Address
from typing import TypeVar
from urllib.request import getproxies, proxy_bypass

import httpx

from omma.domain.errors import OmmaError, SourceUnavailable, UrlRefused, UrlUnreachable
from omma.domain.hosts import is_loopback
from omma.stores.addresses import Address, is_never_fetched, is_public, parse
from omma.stores.guards import SCHEMES, Resolver, parse_url, system_addresses

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

REDIRECTS = {301, 302, 303, 307, 308}
MAX_REDIRECTS = 5
BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
RETRY_AFTER_S = 60
PROXIES = {"https", "all"}  # as the environment names those of https
LOOKED_UP_S = 60.0  # for so long a host is not looked up again
SERVER_FAULT = 500  # and above: another try may do


class Cause(StrEnum):
    """Why a request has to be made again."""

    BUSY = "busy"  # the server asks for patience
    DOWN = "down"  # nobody accepts a connection
    FAULT = "fault"  # the server failed over this one
    SILENT = "silent"
    BROKEN = "broken"  # the answer ended too soon


class Again(Exception):
    """The same request may succeed, in ``wait_s`` seconds if the server said so."""

    def __init__(self, cause: Cause, reason: str, wait_s: float | None = None) -> None:
        super().__init__(cause, reason, wait_s)
        self.cause = cause
        self.reason = reason
        self.wait_s = wait_s


def unavailable(again: Again) -> OmmaError:
    """What is said when patience is at its end."""
    return SourceUnavailable(again.reason, max(RETRY_AFTER_S, math.ceil(again.wait_s or 0)))


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long somebody else's server is waited for."""

    timeout_s: float = 30.0  # of silence
    tries: int = 5
    backoff_s: float = 1.0  # before the second try; doubles with each
    max_wait_s: float = 120.0  # who asks for more is asked on another day


class Origins:
    """Where a source may lead: by https to the internet, else to the operator's own server alone.

    A source that is itself within a private network may lead to others within, by https.
    """

    def __init__(self, url: str, *, resolver: Resolver = system_addresses) -> None:
        self._own = httpx.URL(url)
        # As `PatientClient` trusts the environment.
        self._has_proxy = _is_beyond(self._own) and bool(PROXIES & getproxies().keys())
        self._resolver = resolver
        self._is_within: bool | None = None  # the operator's own host; looked up when it matters
        self._passed: dict[str, float] = {}  # hosts, and until when they need no other look-up

    def check(self, text: str, base: httpx.URL | None = None) -> httpx.URL:
        """The URL, or `UrlRefused` for one that leads where we do not go."""
        url = parse_url(text, base)
        if url.scheme != "https" and _server_of(url) != _server_of(self._own):
            raise UrlRefused(f"expected a URL of https, got {text[:200]!r}")
        return url

    async def require_public(self, url: httpx.URL) -> None:
        """`UrlRefused` for a host on a private network, or without a name.

        A name that leads elsewhere a moment later still needs a certificate there.
        """
        host, now = url.host, time.monotonic()
        if host == self._own.host or self._passed.get(host, now) > now:
            return
        if not await self._is_passed(host):
            raise UrlRefused(f"expected a name on the public internet, got {host[:200]!r}")
        self._passed[host] = now + LOOKED_UP_S

    async def _is_passed(self, host: str) -> bool:
        literal = _literal(host)
        if not literal and self._has_proxy and not proxy_bypass(host):
            return True  # its proxy looks the name up, by rules of its own
        found = literal or await self._addresses(host)
        if any(map(is_never_fetched, found)):
            return False
        if not literal and all(map(is_public, found)):
            return True
        return await self._is_own_within()

    async def _is_own_within(self) -> bool:
        if self._is_within is None:
            host = self._own.host
            found = _literal(host) or await self._addresses(host)
            self._is_within = not all(map(is_public, found))
        return self._is_within

    async def _addresses(self, host: str) -> list[Address]:
        """None of a name that does not resolve: the connection tells that."""
        try:
            found = await asyncio.to_thread(self._resolver, host, SCHEMES["https"])
        except (OSError, UnicodeError):
            return []
        return [parse(text) for text in found]


def _is_beyond(url: httpx.URL) -> bool:
    return url.scheme == "https" and not is_loopback(url.host)


def _server_of(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _literal(host: str) -> list[Address]:
    """The address that a host is, in any way that resolvers take for one; none of a name."""
    try:
        return [parse(host)]
    except ValueError:
        pass
    try:
        return [IPv4Address(socket.inet_aton(host))]  # 127.1, 0x7f000001
    except OSError:
        return []


class Pace:
    """At most so many requests a second, evenly."""

    def __init__(self, per_s: float, *, sleep: Sleep = asyncio.sleep) -> None:
        self._gap_s = 1 / per_s
        self._next = 0.0
        self._sleep = sleep

    async def wait(self) -> None:
        """Return when it is one's turn."""
        now = time.monotonic()
        turn = max(now, self._next)
        self._next = turn + self._gap_s
        if turn > now:
            await self._sleep(turn - now)


class PatientClient:
    """Streams answers; tells by `Again` what another try may mend, and tries that."""

    def __init__(
        self,
        url: str,
        *,
        contact: str = "",
        patience: Patience | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._origins = Origins(url)
        self._patience = patience or Patience()
        self._sleep = sleep
        agent = f"{_product()} ({contact})" if contact else _product()
        self._client = httpx.AsyncClient(
            headers={"user-agent": agent, "accept-encoding": "gzip"},
            timeout=self._patience.timeout_s,
            verify=_trusted(),
            # Proxies lead out, not to a mirror beside us.
            trust_env=_is_beyond(httpx.URL(url)),
        )

    async def persist(
        self,
        act: Callable[[], Awaitable[T]],
        *,
        tries: int | None = None,
        progress: Callable[[], int] = lambda: 0,
        failure: Callable[[Again], OmmaError] = unavailable,
    ) -> T:
        """What ``act`` answers at last; ``failure`` when it asks for one try too many.

        A try that came further than any before, by what ``progress`` says, does not count.
        """
        most, tried, best = tries or self._patience.tries, 0, progress()
        while True:
            try:
                return await act()
            except Again as again:
                tried = 1 if progress() > best else tried + 1
                best = max(best, progress())
                wait_s = self._pause_s(again, tried)
                if tried >= most or wait_s > self._patience.max_wait_s:
                    raise failure(again) from None
            await self._sleep(wait_s)

    def _pause_s(self, again: Again, tried: int) -> float:
        if again.wait_s is not None:
            return again.wait_s
        jitter = random.uniform(0.8, 1.2)  # noqa: S311  no secret
        return self._patience.backoff_s * 2 ** (tried - 1) * jitter

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[httpx.Response]:
        """The answer below 500 of where redirects lead; what breaks off in the block is `Again`.

        `UrlRefused` and `UrlUnreachable` for URLs and redirects that lead where we do not go.
        """
        start = self._origins.check(url)
        await self._origins.require_public(start)
        host = start.host
        try:
            async with self._follow(start, headers or {}) as response:
                _expect_patience(response)
                yield response
        except httpx.ConnectError:
            raise Again(Cause.DOWN, f"{host} accepts no connection") from None
        except httpx.TimeoutException:
            reason = f"{host} was silent for {self._patience.timeout_s:g} s"
            raise Again(Cause.SILENT, reason) from None
        except (httpx.TransportError, ConnectionError, ssl.SSLError) as error:
            raise Again(Cause.BROKEN, f"{host} broke off ({type(error).__name__})") from None
        except httpx.DecodingError:
            raise Again(Cause.BROKEN, f"{host} sent a body that does not unpack") from None

    @asynccontextmanager
    async def _follow(
        self, url: httpx.URL, headers: Mapping[str, str]
    ) -> AsyncGenerator[httpx.Response]:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._client.stream("GET", url, headers=dict(headers)) as response:
                place = response.headers.get("location", "")
                if response.status_code not in REDIRECTS or not place:
                    yield response
                    return
            url = self._origins.check(place, url)
            await self._origins.require_public(url)
        raise UrlUnreachable(f"expected at most {MAX_REDIRECTS} redirects")

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()


@cache
def _trusted() -> ssl.SSLContext:
    """Certificates that this machine trusts; reading them takes a tenth of a second."""
    return httpx.create_ssl_context()


def _product() -> str:
    try:
        return f"omma/{version('omma')}"
    except PackageNotFoundError:  # it runs from its sources
        return "omma/dev"


def _expect_patience(response: httpx.Response) -> None:
    status = response.status_code
    if status in BUSY or status >= SERVER_FAULT:
        cause = Cause.BUSY if status in BUSY else Cause.FAULT
        reason = f"{response.url.host} answered with status {status}"
        raise Again(cause, reason, _retry_after_s(response))


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds from now, whichever of the two forms the header has."""
    said = response.headers.get("retry-after", "").strip()
    if said.isdecimal():
        return float(said[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
