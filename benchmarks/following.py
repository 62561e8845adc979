"""Two ingress processes over one database: what one is asked, the other's streams tell."""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager

import orjson

from benchmarks.load import post_request, read_answer
from benchmarks.servers import await_port, unused_port

INGRESS = [sys.executable, "-m", "tests.drill.process", "ingress"]  # uvicorn, without Ray
PAUSE_S = (0.02, 0.12)  # between two requests: at any moment of the other's polling
PATIENCE_S = 5.0
SUBMIT = post_request("/job/checksum", b'{"url": "https://example.org/a.jpg"}', "application/json")
LISTEN = b"GET /events?kind=job_submitted HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def latencies_ms(url: str, count: int) -> list[float]:
    """From sending a request to having read its event elsewhere, for ``count`` requests."""
    with (
        tempfile.TemporaryDirectory() as home,
        _ingress(url, home) as asked,
        _ingress(url, home) as told,
    ):
        return asyncio.run(_latencies_ms(asked, told, count))


@contextmanager
def _ingress(url: str, home: str) -> Generator[int]:
    port = unused_port()
    variables = {"OMMA_HOME": home, "OMMA_DATABASE__URL": url, "OMMA_HTTP__PORT": str(port)}
    with subprocess.Popen(INGRESS, env=os.environ | variables) as process:  # noqa: S603  our own module
        try:
            await_port(port)
            yield port
        finally:
            process.terminate()


async def _latencies_ms(asked: int, told: int, count: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", told)
    writer.write(LISTEN)
    await reader.readuntil(b"retry:")
    listening = asyncio.create_task(_listen(reader, count))
    sent = await _send(asked, count)
    heard = await asyncio.wait_for(listening, PATIENCE_S)
    writer.close()
    return [1000 * (heard[job_id] - at) for job_id, at in sent.items()]


async def _send(port: int, count: int) -> dict[str, float]:
    """When each job was asked for."""
    sent: dict[str, float] = {}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        at = time.perf_counter()
        writer.write(SUBMIT)
        sent[orjson.loads(await read_answer(reader))["job_id"]] = at
        await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311
    writer.close()
    return sent


async def _listen(reader: asyncio.StreamReader, count: int) -> dict[str, float]:
    """When each of the first ``count`` jobs was told of."""
    heard: dict[str, float] = {}
    while len(heard) < count:
        line = await reader.readline()
        if line.startswith(b"data: "):
            heard[orjson.loads(line.removeprefix(b"data: "))["job_id"]] = time.perf_counter()
    return heard
