"""A client of `/events` that comes back when its stream ends."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field

import httpx


@dataclass
class Listener:
    """All it has heard, in order."""

    heard: list = field(default_factory=list)  # (seq, kind, job_id)
    connections: int = 0
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self, client):
        while True:
            with contextlib.suppress(httpx.TransportError):
                await self._read(client)
            await asyncio.sleep(0.2)

    async def _read(self, client):
        place = {"Last-Event-ID": str(self.heard[-1][0])} if self.heard else {}
        async with client.stream("GET", "/events", headers=place, timeout=None) as answer:
            if answer.status_code != 200:
                return
            self.connections += 1
            self.is_open.set()
            seq = 0
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    seq = int(value)
                elif name == "data":
                    told = json.loads(value)
                    self.heard.append((seq, told["event"], told["job_id"]))

    def jobs(self, kind):
        """Of the events of one kind, whose they are."""
        return [job_id for _, each, job_id in self.heard if each == kind]

    @property
    def seqs(self):
        return [seq for seq, _, _ in self.heard]


@contextlib.asynccontextmanager
async def listening(client):
    listener = Listener()
    task = asyncio.create_task(listener.listen(client))
    await listener.is_open.wait()
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
