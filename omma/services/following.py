"""One reader's place among the events: a number, however much it has yet to read."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from omma.domain.errors import StoreUnavailable
from omma.domain.events import ENDING, Event
from omma.domain.jobs import JobId


class Source(Protocol):
    """Where followers read."""

    @property
    def news(self) -> asyncio.Event:
        """Set as soon as there is more than there is now."""
        ...

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more will come."""
        ...

    @property
    def pause_s(self) -> float:
        """How long to leave a log alone that did not answer."""
        ...

    async def read(self, seq: int, job_id: JobId | None) -> tuple[list[Event], int]:
        """Some events above ``seq``, and how far one has come with them."""
        ...


@dataclass(frozen=True, slots=True)
class Course:
    """Where a reader begins, what it wants, and where it ends.

    A job that was retried has endings that were not its last: ``endings_after`` tells them apart.
    """

    start: int
    wants: Callable[[Event], bool]
    job_id: JobId | None = None
    endings_after: int | None = None  # an ending above this is the end; None waits for none
    until: int | None = None  # of a job that has ended: nothing above is its own

    def is_over(self, at: int) -> bool:
        """Whether who has come to ``at`` has all there is."""
        return self.until is not None and at >= self.until

    def ends_with(self, event: Event) -> bool:
        """Whether nothing more will be said after it."""
        if self.endings_after is None or event.kind not in ENDING:
            return False
        return event.seq > self.endings_after


class Follower:
    """Hands one reader its events, when it asks for them."""

    def __init__(self, source: Source, course: Course) -> None:
        self._source = source
        self._course = course
        self._at = course.start
        self._is_over = course.is_over(course.start)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self._is_over or self._source.is_stopped

    async def next(self, *, patience_s: float) -> list[Event]:
        """What is wanted of what came, in order; empty after so long, and at the end.

        While the database is away nothing comes, and nothing is lost. It may be cancelled.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while not self.has_ended:
            news, was_at = self._source.news, self._at  # before looking: nothing falls between
            try:
                events, at = await self._source.read(was_at, self._course.job_id)
            except StoreUnavailable:
                await asyncio.sleep(self._source.pause_s)
                events, at, news = [], was_at, None
            if wanted := self._take(events, at):
                return wanted
            left_s = deadline - loop.time()
            if self.has_ended or left_s <= 0:
                break
            if self._at == was_at:
                await _wait(news, left_s)
        return []

    def _take(self, events: list[Event], at: int) -> list[Event]:
        course, wanted = self._course, list[Event]()
        for event in events:
            if course.job_id not in {None, event.job_id}:
                continue
            if course.wants(event):
                wanted.append(event)
            if course.ends_with(event):
                self._is_over = True
                break
        self._at = at
        self._is_over = self._is_over or course.is_over(at)
        return wanted


async def _wait(news: asyncio.Event | None, patience_s: float) -> None:
    if news is None:
        return
    try:
        async with asyncio.timeout(patience_s):
            await news.wait()
    except TimeoutError:
        pass
