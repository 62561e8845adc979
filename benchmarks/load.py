"""A closed-loop HTTP/1.1 client that costs next to nothing, so that the server has the cores."""

import asyncio
import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Load:
    """What one stretch of load gave."""

    requests: int
    took_s: float
    latencies_ms: tuple[float, ...]

    @property
    def per_s(self) -> float:
        """Requests answered per second."""
        return self.requests / self.took_s

    def percentile_ms(self, q: float) -> float:
        """Latency that ``q`` percent of the requests stayed under."""
        return float(np.percentile(self.latencies_ms, q))


def http_load(  # noqa: PLR0913  one load's whole description
    port: int,
    path: str,
    body: bytes,
    *,
    concurrency: int,
    seconds: float,
    media_type: str = "image/jpeg",
) -> Load:
    """Post ``body`` again and again over ``concurrency`` kept-alive loopback connections."""
    request = post_request(path, body, media_type)
    return asyncio.run(_load(port, request, concurrency, seconds))


def post_request(path: str, body: bytes, media_type: str) -> bytes:
    """A whole request, as it goes over the line."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _load(port: int, request: bytes, concurrency: int, seconds: float) -> Load:
    latencies: list[float] = []
    started = time.perf_counter()
    ends = started + seconds
    await asyncio.gather(*(_client(port, request, ends, latencies) for _ in range(concurrency)))
    return Load(len(latencies), time.perf_counter() - started, tuple(latencies))


async def _client(port: int, request: bytes, ends: float, latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (sent := time.perf_counter()) < ends:
        writer.write(request)
        await read_answer(reader)
        latencies.append((time.perf_counter() - sent) * 1000)
    writer.close()


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """The body of the next answer, which has to be of the 200s."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b" ", 2)[1]
    headers = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
    body = await reader.readexactly(int(headers[b"content-length"]))
    if not status.startswith(b"2"):
        message = f"expected a status of the 200s, got {status.decode()}: {body[:200]!r}"
        raise RuntimeError(message)
    return body
