"""Which jobs a runner takes next, and how soon it looks again."""

import logging
import random
from collections.abc import Collection

from omma.domain.errors import StoreUnavailable
from omma.domain.jobs import Claim
from omma.ports.jobs import JobQueue
from omma.services.attempts import Backoff
from omma.services.outages import Outages

log = logging.getLogger(__name__)

DATABASE_BACKOFF = Backoff(0.25, 5.0)  # of claims and settlements while it is away
LOOKS = 4  # of so many at an unchanged queue, one claims: the time of a job may have come


class Claiming:
    """Takes what there is room for, but only a few jobs of an operation that has an outage."""

    def __init__(  # noqa: PLR0913  each of its own kind
        self,
        queue: JobQueue,
        operations: Collection[str],
        outages: Outages,
        *,
        runner: str,
        lease_s: float,
        chunk: int,
    ) -> None:
        self._queue = queue
        self._operations = operations
        self._outages = outages
        self._runner = runner
        self._lease_s = lease_s
        self._chunk = chunk
        self._largest = 1  # images of a job, as claimed last
        self._failures = 0  # claims in a row that found no database
        self._is_full = False
        self._empty: object = None  # the state of the queue that had nothing for us
        self._looks = 0  # at it, since that claim

    async def take(self, room: int) -> list[Claim]:
        """Jobs of about ``room`` images, or none."""
        self._is_full = False
        if probed := self._outages.due():
            self._empty = None  # a probe has a time of its own: it is never spared
            claims = await self._claim([probed], min(room, self._chunk))
            self._outages.probed(probed, found=bool(claims))
            return claims
        well = self._outages.well(self._operations)
        return await self._claim(well, room) if well else []

    def pause_s(self, poll_interval_s: float) -> float:
        """How long to wait before the next: not at all while there seems to be more."""
        if self._failures:
            return DATABASE_BACKOFF.delay_s(self._failures)
        return 0.0 if self._is_full else poll_interval_s * random.uniform(0.5, 1.5)  # noqa: S311

    async def _claim(self, operations: Collection[str], room: int) -> list[Claim]:
        limit = max(1, room // self._largest)
        try:
            if await self._is_unchanged(operations):
                return []
            claims = await self._queue.claim(
                self._runner, operations, limit=limit, lease_s=self._lease_s
            )
        except StoreUnavailable as error:
            log.warning("could not claim jobs", extra={"reason": str(error)})
        except Exception:
            log.exception("claiming failed in an unforeseen way")
        else:
            self._failures = 0
            self._is_full = len(claims) == limit
            if claims:
                self._empty = None
                self._largest = max(1, *(len(claim.job.asked.images) for claim in claims))
            return claims
        self._failures += 1
        self._empty = None
        return []

    async def _is_unchanged(self, operations: Collection[str]) -> bool:
        """Whether nothing has happened since a claim of these ``operations`` found no job."""
        state = await self._queue.changes(), frozenset(operations)
        self._looks += 1
        if state == self._empty and self._looks < LOOKS:
            return True
        self._empty, self._looks = state, 0
        return False
