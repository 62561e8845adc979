"""One call for many: what is asked while a call runs goes into the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from omma.domain.errors import OmmaError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

MAX_ITEMS = 500  # of one call: a transaction that others wait for


@dataclass(frozen=True, slots=True, eq=False)
class _Asked(Generic[Item, Outcome]):
    item: Item
    answer: "asyncio.Future[Outcome]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Gathering(Generic[Item, Outcome]):
    """Turns concurrent calls of one item into calls of many, one of which runs at a time.

    Nobody waits for company: the first call starts at once. Every caller gets its own outcome or
    error; one that is cancelled before its call has begun is left out of it.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | OmmaError]]],
        *,
        max_items: int = MAX_ITEMS,
    ) -> None:
        self._run = run
        self._max_items = max_items
        self._waiting: list[_Asked[Item, Outcome]] = []
        self._runner: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Outcome:
        """The outcome for ``item``; an outcome that is an error is raised."""
        asked: _Asked[Item, Outcome] = _Asked(item)
        self._waiting.append(asked)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run_all())
        return await asked.answer

    async def _run_all(self) -> None:
        try:
            while together := self._take():
                await self._call(together)
        finally:
            self._runner = None

    def _take(self) -> list[_Asked[Item, Outcome]]:
        wanted = [each for each in self._waiting if not each.answer.done()]
        self._waiting = wanted[self._max_items :]
        return wanted[: self._max_items]

    async def _call(self, together: Sequence[_Asked[Item, Outcome]]) -> None:
        call = asyncio.ensure_future(self._run([each.item for each in together]))
        await asyncio.wait([call])
        fault = call.exception()
        if fault is None:
            for asked, outcome in zip(together, call.result(), strict=True):
                _tell(asked, outcome)
        elif len(together) == 1 or isinstance(fault, OmmaError):
            for asked in together:
                _tell(asked, fault)
        else:  # a fault nobody foresaw, of one item perhaps: the others shall not share it
            for asked in together:
                await self._call([asked])


def _tell(asked: _Asked[Item, Outcome], outcome: Outcome | BaseException) -> None:
    if asked.answer.done():  # its caller has gone
        return
    if isinstance(outcome, BaseException):
        asked.answer.set_exception(outcome)
    else:
        asked.answer.set_result(outcome)
