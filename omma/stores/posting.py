"""Posting to others: to URLs of clients under guard, to the operator's own without."""

import asyncio
import ssl
from collections.abc import Mapping

import httpcore
import httpx

from omma.domain.errors import UrlRefused, UrlTimeout, UrlUnreachable
from omma.stores.guards import (
    SUCCESS,
    CheckedNetwork,
    Resolver,
    in_time,
    parse_url,
    system_addresses,
    target_of,
)

USER_AGENT = "omma"


class GuardedPoster:
    """`Poster` that reaches public addresses only and follows no redirect."""

    def __init__(
        self,
        *,
        timeout_s: float,
        allow_private: bool = False,
        resolver: Resolver = system_addresses,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._network = CheckedNetwork(resolver, allow_private=allow_private)
        self._ssl_context = ssl_context or httpx.create_ssl_context()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        parsed = parse_url(url)
        own = {"host": parsed.netloc.decode("ascii"), "content-length": str(len(body))}
        sent = {"connection": "close", "user-agent": USER_AGENT, **headers, **own}
        async with (
            in_time(self._timeout_s),
            # Proxies in the environment are ignored: one would resolve the name again.
            httpcore.AsyncConnectionPool(
                ssl_context=self._ssl_context,
                max_keepalive_connections=0,
                network_backend=self._network,
            ) as pool,
            pool.stream(
                "POST", target_of(parsed), headers=list(sent.items()), content=body
            ) as response,
        ):
            _expect_success(response.status)


class PlainPoster:
    """`Poster` for URLs that the operator set: private addresses are what they are for."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._ssl_context = httpx.create_ssl_context()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        sent = {"user-agent": USER_AGENT, **headers}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                httpx.AsyncClient(
                    verify=self._ssl_context, trust_env=False, timeout=self._timeout_s
                ) as client,
                client.stream("POST", url, content=body, headers=sent) as response,
            ):
                _expect_success(response.status_code)
        except (TimeoutError, httpx.TimeoutException):
            raise UrlTimeout(f"expected an answer within {self._timeout_s:g} s") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise UrlRefused("expected an http or https URL") from None
        except (httpx.HTTPError, OSError, UnicodeError):
            raise UrlUnreachable("the host did not answer, or not in HTTP") from None


def _expect_success(status: int) -> None:
    if status // 100 != SUCCESS:
        raise UrlUnreachable(f"expected a success, got status {status}")
