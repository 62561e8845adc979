"""A web server that answers as a test says, badly where it is told to."""

import asyncio
import contextlib
from dataclasses import dataclass, field


def answer(status="200 OK", body=b"", **headers):
    """An HTTP answer as bytes; ``headers`` with underscores for hyphens."""
    given = {"content_length": len(body), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "\r\n"]).encode() + body


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    body: bytes


@dataclass
class Site:
    """Answers each path with prepared bytes; an answer of None is never given."""

    answers: dict = field(default_factory=dict)
    default: bytes | None = field(default_factory=answer)
    asked: list = field(default_factory=list)
    pause_s: float = 0.0  # after every byte of an answer
    port: int = 0
    connections: set = field(default_factory=set)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader, writer):
        self.connections.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        method, path, _ = head[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.asked.append(Request(method, path, headers, body))
        told = self.answers.get(path, self.default)
        if told is None:
            await reader.read()  # until the client leaves
        elif self.pause_s:
            await self._drip(told, writer)
        else:
            writer.write(told)
            await writer.drain()

    async def _drip(self, told, writer):
        for number in range(len(told)):
            writer.write(told[number : number + 1])
            await writer.drain()
            await asyncio.sleep(self.pause_s)


@contextlib.asynccontextmanager
async def running(site):
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site
        await asyncio.gather(*site.connections)  # each ends when its client has left
