"""Every event handed to a broker, in order, at least once."""

import asyncio

from omma.ports.events import Broker, Cursors, EventLog

CURSOR = "mqtt"
CHUNK = 500  # events between two marks of how far it has come
BUDGET_S = 5.0  # of one run: the right to publish is a lease that must not end meanwhile


class Publisher:
    """Publishes what is new since the last time; one process at a time may run it."""

    def __init__(self, log: EventLog, cursors: Cursors, broker: Broker) -> None:
        self._log = log
        self._cursors = cursors
        self._broker = broker

    async def run_once(self) -> int:
        """Publish what there is, for a few seconds at most; how many events that were.

        The very first run begins at the log's end. `BrokerUnreachable` and `StoreUnavailable` lose
        nothing: the next run begins where the last mark is, and may repeat a chunk.
        """
        seq = await self._cursors.read(CURSOR)
        if seq is None:
            await self._cursors.write(CURSOR, await self._log.last())
            return 0
        loop = asyncio.get_running_loop()
        deadline, published = loop.time() + BUDGET_S, 0
        while events := await self._log.after(seq, limit=CHUNK):
            await self._broker.publish(events)
            seq = events[-1].seq
            await self._cursors.write(CURSOR, seq)
            published += len(events)
            if loop.time() >= deadline:
                break
        return published

    async def close(self) -> None:
        """Say goodbye to the broker."""
        await self._broker.close()
