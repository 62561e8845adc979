"""The guard on every connection that a client's URL asks for: schemes, ports, addresses, time."""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import cast

import httpcore
import httpx

from omma.domain.errors import UrlRefused, UrlTimeout, UrlUnreachable
from omma.stores.addresses import is_never_fetched, is_public, parse

Resolver = Callable[[str, int], Sequence[str]]  # name and port to addresses; may block

SCHEMES = {"http": 80, "https": 443}
FREE_PORTS = range(1024, 65536)  # below lie mail and shells that a request could talk to
HOST = re.compile(rb"[A-Za-z0-9._:-]+")  # in IDNA, or an address
LONGEST_LABEL = 63  # RFC 1035
SUCCESS, REFUSAL = 2, 4  # 2xx, 4xx
PASSING = {408, 425, 429}  # of the 400s: too slow, too early, too often
NO_CODING = {"", "identity", "aws-chunked"}  # S3 keeps the last, and empty ones, of uploads
RESOLVER_THREADS = 16  # of our own: slow name servers must not starve the event loop's pool
CONNECT_S = 3.0


def system_addresses(host: str, port: int) -> list[str]:
    """What the operating system's resolver answers, each address once, in its order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a name once and connects to an address that was checked.

    The check and the connection see the same address: a name that answers differently
    the second time (DNS rebinding) is never asked a second time.
    """

    def __init__(self, resolver: Resolver, *, allow_private: bool) -> None:
        self._resolver = resolver
        self._allow_private = allow_private
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, "resolve")
        self._network = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        del timeout  # an address that swallows packets must leave time for the next one
        for address in await self._addresses(host, port):
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._network.connect_tcp(
                    address, port, CONNECT_S, local_address, socket_options
                )
        raise UrlUnreachable(f"{host!r} did not accept a connection")

    async def _addresses(self, host: str, port: int) -> list[str]:
        """All of them are fit to connect to, or none is used."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._resolver, host, port)
        except (OSError, UnicodeError):
            raise UrlUnreachable(f"{host!r} does not resolve") from None
        for text in found:
            self._check(host, text)
        return list(found)

    def _check(self, host: str, text: str) -> None:
        address = parse(text)
        allowed = not is_never_fetched(address) if self._allow_private else is_public(address)
        if not allowed:
            raise UrlRefused(f"{host!r} is not on a public address")


def parse_url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """One parser decides where the URL leads, for the check and the connection alike."""
    try:
        url = base.join(text) if base else httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        raise UrlRefused("expected a valid URL") from None
    if url.scheme not in SCHEMES or not HOST.fullmatch(url.raw_host):
        raise UrlRefused("expected an http or https URL with a host")
    if not _is_resolvable(url.raw_host):
        raise UrlRefused("expected a host of labels with 1 to 63 characters")
    if url.userinfo:
        raise UrlRefused("expected a URL without a user name or password")
    port = url.port or SCHEMES[url.scheme]
    if port not in SCHEMES.values() and port not in FREE_PORTS:
        raise UrlRefused(
            f"expected port 80, 443 or {FREE_PORTS[0]} to {FREE_PORTS[-1]}, got {port}"
        )
    return url


def _is_resolvable(host: bytes) -> bool:
    """Whether resolver and TLS take it for a name at all; other names they refuse in odd ways."""
    labels = host.removesuffix(b".").split(b".")
    return b":" in host or all(0 < len(label) <= LONGEST_LABEL for label in labels)


def target_of(url: httpx.URL) -> httpcore.URL:
    """The same URL as the connection takes it."""
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


@asynccontextmanager
async def in_time(timeout_s: float) -> AsyncGenerator[None]:
    """One deadline holds for names, connections and the last byte; errors of the way are ours."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise UrlTimeout(f"expected an answer within {timeout_s:g} s") from None
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.TimeoutException,
        OSError,  # TLS that breaks off while the answer is read, which httpcore lets through
        ValueError,  # TLS that is asked for a name no certificate can have: .x.example
    ):
        raise UrlUnreachable("the host did not answer, or not in HTTP") from None


def is_final(status: int) -> bool:
    """Whether asking again would be answered alike: a 4xx that speaks of the request."""
    return status // 100 == REFUSAL and status not in PASSING


def is_encoded(content_encoding: str) -> bool:
    """Whether a body that came with this header must be unpacked."""
    return any(each.strip().lower() not in NO_CODING for each in content_encoding.split(","))
