"""What has to be done now and then, by one process at a time, whoever that is."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from omma.domain.errors import OmmaError
from omma.ports.leases import Leases
from omma.services.attempts import Backoff

log = logging.getLogger(__name__)

TTL_S = 15.0  # another process takes a chore over when its holder was silent for so long
RENEWALS = 3  # within that time
BACKOFF = Backoff(1.0, 60.0)  # of a chore that fails


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to be done every ``every_s``, and again at once while it found something to do."""

    name: str
    every_s: float
    run: Callable[[], Awaitable[int]]  # how much it did


class Chores:
    """Runs each chore by itself, while it has the lease of the chore's name."""

    def __init__(
        self, leases: Leases, holder: str, chores: Sequence[Chore], *, ttl_s: float = TTL_S
    ) -> None:
        self._leases = leases
        self._holder = holder
        self._chores = chores
        self._ttl_s = ttl_s
        self._acquired_at: dict[str, float] = {}  # by the chore's name

    async def run(self) -> None:
        """Do chores until cancelled; what this process held is free for others then."""
        try:
            async with asyncio.TaskGroup() as group:
                for chore in self._chores:
                    group.create_task(self._repeat(chore))
        finally:
            for chore in self._chores:
                with suppress(OmmaError):
                    await self._leases.release(_lease(chore), self._holder)

    async def _repeat(self, chore: Chore) -> None:
        failures = 0
        while True:
            pause_s = chore.every_s
            try:
                if await self._take_turn(chore):
                    pause_s = 0.0
                failures = 0
            except OmmaError as error:
                failures += 1
                log.warning("a chore failed", extra={"chore": chore.name, "reason": str(error)})
            except Exception:
                failures += 1
                log.exception("a chore failed in an unforeseen way", extra={"chore": chore.name})
            if failures:
                pause_s = max(pause_s, BACKOFF.delay_s(failures))
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311  not a secret

    async def _take_turn(self, chore: Chore) -> int:
        """How much was done; nothing where another has the lease, or gets it meanwhile."""
        if not self._has(chore) and not await self._acquire(chore):
            return 0
        work = asyncio.ensure_future(chore.run())
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=self._ttl_s / RENEWALS)
                if not work.done() and not await self._acquire(chore):
                    log.warning("lost a chore to another", extra={"chore": chore.name})
                    return 0
            return await work
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})  # raises what is asked of us alone: to be stopped

    def _has(self, chore: Chore) -> bool:
        """Whether the lease was prolonged so lately that the database need not be asked."""
        age_s = time.monotonic() - self._acquired_at.get(chore.name, float("-inf"))
        return age_s < self._ttl_s / RENEWALS

    async def _acquire(self, chore: Chore) -> bool:
        asked_at = time.monotonic()
        # Held between turns, so that chores stay with one process; longer than they are apart.
        ttl_s = max(self._ttl_s, RENEWALS * chore.every_s)
        is_ours = await self._leases.acquire(_lease(chore), self._holder, ttl_s=ttl_s)
        self._acquired_at[chore.name] = asked_at if is_ours else float("-inf")
        return is_ours


def _lease(chore: Chore) -> str:
    return f"chore:{chore.name}"
