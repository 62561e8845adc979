"""How the queue is doing, for health: asked often, looked up seldom, never waited for long."""

import asyncio
import time
from dataclasses import dataclass

from omma.domain.errors import StoreUnavailable
from omma.domain.jobs import JobState
from omma.ports.jobs import JobStore, QueueDepth

FRESH_S = 1.0
SHARE = 20  # a look that takes long is kept the longer
PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Beat:
    """The queue at one moment; ``queued`` is None where the database does not say."""

    queued: int | None
    is_running: bool = False

    @property
    def is_reachable(self) -> bool:
        """Whether the database answers."""
        return self.queued is not None


LOST = Beat(None)


class Pulse:
    """Looks at the queue at most once a second, once for all who ask."""

    def __init__(
        self, depth: QueueDepth, jobs: JobStore, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._depth = depth
        self._jobs = jobs
        self._patience_s = patience_s
        self._look: asyncio.Task[Beat] | None = None
        self._good_until = 0.0

    async def beat(self) -> Beat:
        """The queue, a second old at most; `LOST` when the database takes its time."""
        if self._look is None or (self._look.done() and time.monotonic() >= self._good_until):
            self._look = asyncio.create_task(self._read())
        done, _ = await asyncio.wait([self._look], timeout=self._patience_s)
        return self._look.result() if done else LOST

    async def _read(self) -> Beat:
        started = time.monotonic()
        try:
            queued = await self._depth.depth()
            first = await self._jobs.active("", 1)
        except StoreUnavailable:
            return LOST
        finally:
            took_s = time.monotonic() - started
            self._good_until = started + max(FRESH_S, SHARE * took_s)
        return Beat(queued, any(job.state is JobState.PROCESSING for job in first))
