"""The loop that claims jobs, works on them and records what came of them. Free of Ray."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from omma.domain.errors import OmmaError
from omma.domain.jobs import Claim, Completed, Hold
from omma.ports.jobs import JobQueue
from omma.services.attempts import Attempt, Backoff, Piece, calls_of
from omma.services.calls import Calls
from omma.services.claiming import Claiming
from omma.services.holds import Holds
from omma.services.inputs import Room
from omma.services.outages import Outages
from omma.services.outcomes import Retries
from omma.services.recording import Recording

log = logging.getLogger(__name__)

ATTEMPT_BACKOFF = Backoff(2.0, 60.0)  # before a job that failed is tried again
OUTAGE_BACKOFF = Backoff(1.0, 15.0)  # between probes while something outside is away
RELEASE_S = 3.0  # for the last word to the database


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How one runner works."""

    name: str  # of this process, unlike any other's
    window: int = 32  # images in hand
    chunk: int = 8  # images of one call
    poll_interval_s: float = 0.25
    lease_s: float = 30.0
    drain_s: float = 10.0
    backoff: Backoff = ATTEMPT_BACKOFF
    patience_s: float = 6 * 3600.0  # with what is outside of a job
    outage: Backoff = OUTAGE_BACKOFF


class Runner:
    """Claims as many jobs as its window has room for; several share one call of a handler."""

    def __init__(
        self,
        queue: JobQueue,
        calls: Calls,
        options: RunnerOptions,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._calls = calls
        self._options = options
        self._clock = clock
        self._retries = Retries(options.backoff, options.patience_s)
        self._outages = Outages(options.outage)
        self._claiming = Claiming(
            queue,
            calls.handlers.keys(),
            self._outages,
            runner=options.name,
            lease_s=options.lease_s,
            chunk=options.chunk,
        )
        self._holds = Holds(queue, lease_s=options.lease_s)
        self._room = Room(options.window)
        self._recording = Recording(queue, options.backoff)
        self._stopping = asyncio.Event()

    @property
    def running(self) -> int:
        """Jobs in hand."""
        return len(self._holds.attempts)

    def stop(self) -> None:
        """Claim no more; `run` ends when what runs has ended or was handed back."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop` is called."""
        beside = [asyncio.create_task(each) for each in (self._holds.keep(), self._holds.report())]
        try:
            while not self._stopping.is_set():
                await self._claim_some()
            await self._drain()
        finally:
            tasks = (*beside, *self._holds.work)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _claim_some(self) -> None:
        options = self._options
        least = min(options.chunk, options.window)  # room for less would make small calls
        await self._unless_stopped(self._holds.room(options.window - least))
        if self._stopping.is_set():
            return
        if claims := await self._claiming.take(options.window - self._holds.images):
            self._begin(claims)
        await self._rest(self._claiming.pause_s(options.poll_interval_s))

    def _begin(self, claims: Sequence[Claim]) -> None:
        attempts = [self._calls.attempt(claim) for claim in claims]
        for attempt in attempts:
            self._holds.take(attempt)
        if self._stopping.is_set():
            return  # to be handed back
        for attempt in attempts:
            if attempt.is_lone:
                self._start(partial(self._answer_alone, attempt), [attempt])
            elif not attempt.images:
                self._start(partial(self._answer, [], [attempt]), [attempt])
        shared = [attempt for attempt in attempts if not attempt.is_lone]
        for pieces in calls_of(shared, self._options.chunk):
            about = list({piece.attempt.hold: piece.attempt for piece in pieces}.values())
            self._start(partial(self._answer, pieces, about), about)

    def _start(self, answer: Callable[[], Awaitable[None]], about: Sequence[Attempt]) -> None:
        self._holds.begin(asyncio.create_task(self._work(answer, about)), about)

    async def _work(self, answer: Callable[[], Awaitable[None]], about: Sequence[Attempt]) -> None:
        try:
            await answer()
        except Exception:
            log.exception("working on jobs failed in an unforeseen way")
            for attempt in about:
                await self._recording.give_up(attempt)
                await self._holds.drop(attempt.hold)

    async def _answer(self, pieces: Sequence[Piece], about: Sequence[Attempt]) -> None:
        async with self._room.taken(len(pieces)):
            await self._calls.run([piece for piece in pieces if not piece.attempt.is_void])
        for attempt in about:
            self._holds.made(attempt)
        await self._finish([attempt for attempt in about if attempt.is_done])

    async def _answer_alone(self, attempt: Attempt) -> None:
        """No time is left for it when we stop: it is handed back, and goes on elsewhere."""
        if await self._unless_stopped(self._calls.run_alone(attempt, self._holds.tell)):
            await self._finish([attempt])
        elif not self._stopping.is_set():
            raise RuntimeError("a job's work cancelled itself")

    async def _finish(self, done: Sequence[Attempt]) -> None:
        self._note_outage(done)
        await asyncio.gather(*(self._end(attempt) for attempt in done))

    def _note_outage(self, done: Sequence[Attempt]) -> None:
        """Before they end: their room is not to be filled with more of the same."""
        if not done:
            return
        operation = done[0].claim.job.asked.operation  # that of all: they shared a call
        was_away = any(attempt.has_outage for attempt in done)
        if was_away and not any(attempt.is_served for attempt in done):
            self._outages.began(operation)
        else:
            self._outages.ended(operation)

    async def _end(self, attempt: Attempt) -> None:
        if self._stopping.is_set() and attempt.is_unanswered:
            return  # the models go as we do: it is handed back, and no retry is counted
        outcome = self._retries.outcome_of(attempt, self._clock())
        is_recorded = await self._recording.settle(attempt, outcome)
        await self._holds.drop(attempt.hold)
        if is_recorded and isinstance(outcome, Completed):
            await self._promote(outcome)

    async def _promote(self, outcome: Completed) -> None:
        if not outcome.has_files:
            return
        try:
            await self._calls.files.promote(outcome.hold)
        except OmmaError as error:
            log.warning("left files to the sweeper to move", extra={"reason": str(error)})
        except Exception:
            log.exception("moving files failed in an unforeseen way")

    async def _drain(self) -> None:
        if work := self._holds.work:
            await asyncio.wait(work, timeout=self._options.drain_s)
        left = self._holds.work
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if holds := [attempt.hold for attempt in self._holds.attempts]:
            await self._release(holds)

    async def _release(self, holds: Sequence[Hold]) -> None:
        try:
            async with asyncio.timeout(RELEASE_S):
                await self._queue.release(holds)
        except (OmmaError, TimeoutError) as error:
            log.warning("could not hand jobs back", extra={"reason": str(error)})
        else:
            log.info("handed jobs back", extra={"jobs": len(holds)})

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether ``work`` came to its end; else it was cancelled, and has ended too."""
        tasks = [asyncio.create_task(work), asyncio.create_task(_waited(self._stopping))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if is_over := not tasks[0].cancelled():
            tasks[0].result()
        return is_over

    async def _rest(self, pause_s: float) -> None:
        if pause_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)


async def _waited(event: asyncio.Event) -> None:
    await event.wait()
