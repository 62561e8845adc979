"""Hands for the heavy work of a rebuild, in this very process."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, TypeVar

from omma.domain.indexes import IndexStats, Verdict
from omma.ports.cards import Extracted
from omma.ports.indexes import AssembleTask, ExtractTask, JudgeTask

T = TypeVar("T")


class _Extracts(Protocol):
    async def extract(self, task: ExtractTask) -> Sequence[Extracted]: ...


class _Assembles(Protocol):
    async def assemble(self, task: AssembleTask) -> IndexStats: ...


class _Judges(Protocol):
    async def judge(self, task: JudgeTask) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Hands:
    """Who does one task of each kind."""

    extracting: _Extracts
    assembling: _Assembles
    judging: _Judges


class LocalFarm:
    """`Farm` whose tasks run in this process' event loop and threads."""

    def __init__(self, hands: Hands, *, at_once: int = 2) -> None:
        self._hands = hands
        self._at_once = at_once

    async def extract(
        self, tasks: AsyncIterator[ExtractTask]
    ) -> AsyncGenerator[Sequence[Extracted]]:
        """What came of each task as it ends."""
        async with aclosing(gathered(self._begun(tasks), at_once=self._at_once)) as ended:
            async for found in ended:
                yield found

    async def assemble(self, task: AssembleTask) -> IndexStats:
        """Build the index here."""
        return await self._hands.assembling.assemble(task)

    async def judge(self, task: JudgeTask) -> Verdict:
        """Judge it here."""
        return await self._hands.judging.judge(task)

    async def _begun(
        self, tasks: AsyncIterator[ExtractTask]
    ) -> AsyncIterator[asyncio.Task[Sequence[Extracted]]]:
        async for task in tasks:
            yield asyncio.create_task(self._hands.extracting.extract(task))


async def gathered(begun: AsyncIterator[asyncio.Task[T]], *, at_once: int) -> AsyncGenerator[T]:
    """Results as they come; a further task is begun only while fewer than ``at_once`` run.

    Whatever ends this, the tasks that still run are cancelled and have ended when it has.
    """
    running = set[asyncio.Task[T]]()
    is_over = False
    try:
        while running or not is_over:
            while len(running) < at_once and not is_over:
                task = await anext(begun, None)
                is_over = task is None
                if task is not None:
                    running.add(task)
            if running:
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    running.discard(task)
                    yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
