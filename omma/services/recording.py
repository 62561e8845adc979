"""What came of attempts, recorded: many in one call, however long the database is away."""

import asyncio
import logging
from collections.abc import Sequence

from omma.domain.errors import StoreUnavailable
from omma.domain.jobs import Completed, Failed, Failure
from omma.ports.jobs import JobQueue
from omma.services.attempts import Attempt, Backoff
from omma.services.claiming import DATABASE_BACKOFF
from omma.services.gathering import Gathering

log = logging.getLogger(__name__)

UNFORESEEN = Failure("internal_error", "an internal error; the runner's log says more")


class Recording:
    """Settles attempts; what runs at the same time shares a transaction."""

    def __init__(self, queue: JobQueue, backoff: Backoff) -> None:
        self._queue = queue
        self._backoff = backoff
        self._settling = Gathering[Completed | Failed, bool](self._settle_all)

    async def settle(self, attempt: Attempt, outcome: Completed | Failed) -> bool:
        """Whether it was recorded; tried until it is, or until the hold is void."""
        failures = 0
        while not attempt.is_void:
            try:
                return await self._settling.ask(outcome)
            except StoreUnavailable as error:
                failures += 1
                log.warning("could not record an outcome", extra={"reason": str(error)})
                await asyncio.sleep(DATABASE_BACKOFF.delay_s(failures))
            except Exception:
                log.exception("recording an outcome failed in an unforeseen way")
                return await self.give_up(attempt)
        return False

    async def give_up(self, attempt: Attempt) -> bool:
        """Record no more than that; should even this fail, the lease will end."""
        delay_s = self._backoff.delay_s(attempt.claim.job.retry_count + 1)
        try:
            await self._settling.ask(Failed(attempt.hold, UNFORESEEN, delay_s))
        except Exception:
            log.exception("recording a failure failed in an unforeseen way")
        return False

    async def _settle_all(self, outcomes: Sequence[Completed | Failed]) -> list[bool]:
        refused = await self._queue.settle(outcomes)
        return [outcome.hold not in refused for outcome in outcomes]
