"""Requests to one server: asked again while it is busy, read as typed answers."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from omma.client.errors import (
    AnswerTimeout,
    ClientError,
    NotOmma,
    RequestRefused,
    ServerUnreachable,
)
from omma.domain.hosts import is_loopback
from omma.wire.events import StreamedEvent
from omma.wire.problems import Problem

DEFAULT_URL = "http://127.0.0.1:8000"
BUSY, TOO_MANY, NO_CONTENT = 503, 429, 204
LONGEST_WAIT_S = 30.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and is there at once

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Heard:
    """An event of a stream, and its place, to go on after it."""

    seq: int
    event: StreamedEvent


class Connection:
    """One server, and how patient one is with it."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str = "",
        timeout_s: float = 60.0,
        busy_retries: int = 10,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        at = _parsed(url)
        if not (token.isascii() and token.isprintable()):
            raise ClientError("expected a token of printable ASCII alone")
        is_near = is_loopback(at.host)
        self._url = url
        self._timeout_s = timeout_s
        self._busy_retries = busy_retries
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {token}"} if token else None,
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=None),
            transport=transport,
            trust_env=not is_near,  # proxies cannot reach it
            verify=NO_TLS if is_near and at.scheme == "http" else True,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def _stream(self, path: str, after: int | None) -> AsyncIterator[Heard]:
        place = {} if after is None else {"last-event-id": str(after)}
        try:
            async with self._http.stream("GET", path, headers=place) as answer:
                if answer.status_code == NO_CONTENT:
                    return
                if not answer.is_success:
                    await answer.aread()
                    raise refused(answer)
                async for heard in _events(answer.aiter_lines()):
                    yield heard
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServerUnreachable(f"no answer from {self._url}: {error}") from None

    async def _read_from(
        self, shape: type[Answer], method: str, path: str, **request: Any
    ) -> Answer:
        return read(shape, await self._ask(method, path, **request))

    async def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """A success; a busy server is asked again when it said."""
        retries_left = self._busy_retries
        while not (answer := await self._send(method, path, **request)).is_success:
            if not _is_busy(answer) or not retries_left:
                raise refused(answer)
            retries_left -= 1
            await asyncio.sleep(_wait_s(answer.headers.get("retry-after", "")))
        return answer

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **request)
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            raise AnswerTimeout(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServerUnreachable(f"no answer from {self._url}: {error}") from None


def _parsed(url: str) -> httpx.URL:
    with suppress(httpx.InvalidURL, UnicodeError):
        parsed = httpx.URL(url)
        if parsed.scheme in {"http", "https"} and parsed.host:
            return parsed
    raise ClientError(f"expected an http or https URL, got {url!r}")


def _is_busy(answer: httpx.Response) -> bool:
    """A full queue is not: it may take hours to empty."""
    is_hurried = answer.status_code == TOO_MANY and b'"rate_limited"' in answer.content
    return answer.status_code == BUSY or is_hurried


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[Heard]:
    """Server-sent events out of their lines; comments keep the line open."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif not line and "data" in fields:
            yield Heard(int(fields["id"]), StreamedEvent.model_validate_json(fields["data"]))
            fields = {}


def _wait_s(retry_after: str) -> float:
    """What the server asked for, and a little more that differs: not all come back at once."""
    asked = float(retry_after) if retry_after.isdecimal() else 1.0
    return min(asked, LONGEST_WAIT_S) + random.random()  # noqa: S311  no secret


def read(shape: type[Answer], answer: httpx.Response) -> Answer:
    """An answer as ``shape``, or `NotOmma`."""
    try:
        return shape.model_validate_json(answer.content)
    except ValidationError:
        raise NotOmma(f"what listens at {answer.url} is not omma") from None


def refused(answer: httpx.Response) -> ClientError:
    """The error that an answer tells of."""
    try:
        return RequestRefused(Problem.model_validate_json(answer.content))
    except ValidationError:
        return NotOmma(f"what listens at {answer.url} answered {answer.status_code}")
