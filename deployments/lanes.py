"""Who goes next: waiting work in two lanes, in groups that may share a batch."""

from collections import deque
from collections.abc import Callable, Hashable
from fractions import Fraction
from itertools import count
from typing import Generic, TypeVar

from omma.domain.faces import Lane

Entry = TypeVar("Entry")


class Lanes(Generic[Entry]):
    """Interactive work before jobs, the longest-waiting group first.

    While jobs wait, at least ``job_floor`` of all items taken are jobs, give or take one batch.
    Room that interactive work leaves is theirs besides, and is not held against them.
    """

    def __init__(self, job_floor: float) -> None:
        if not 0 <= job_floor < 1:
            raise ValueError(f"expected a job_floor in [0, 1), got {job_floor!r}")
        self._floor = Fraction(job_floor).limit_denominator(1000)  # floats never add up to 1
        self._due = Fraction(0)  # items that jobs may take before interactive work
        self._order = count()
        self._interactive = _Groups[Entry]()
        self._jobs = _Groups[Entry]()

    def __len__(self) -> int:
        return len(self._interactive) + len(self._jobs)

    def put(self, entry: Entry, lane: Lane, group: Hashable) -> None:
        """Add ``entry`` behind those of its lane and group."""
        groups = self._interactive if lane is Lane.INTERACTIVE else self._jobs
        groups.put(entry, group, next(self._order))

    def take(self, limit: int) -> list[Entry]:
        """Remove and answer the next at most ``limit`` entries, all of one group."""
        if not self or limit < 1:
            return []
        jobs_waited = len(self._jobs)
        jobs_lead = not self._interactive or (jobs_waited > 0 and self._due >= 1)
        group = (self._jobs if jobs_lead else self._interactive).oldest()
        due = min(int(self._due), limit) if jobs_lead else 0
        batch = self._jobs.take(group, due)
        batch += self._interactive.take(group, limit - len(batch))
        batch += self._jobs.take(group, limit - len(batch))
        if jobs_waited:
            self._settle(len(batch), jobs_waited - len(self._jobs))
        return batch

    def drop(self, unwanted: Callable[[Entry], bool]) -> None:
        """Forget every waiting entry that is ``unwanted``."""
        self._interactive.drop(unwanted)
        self._jobs.drop(unwanted)

    def _settle(self, taken: int, jobs: int) -> None:
        self._due += self._floor * taken - jobs
        if not self._interactive:  # jobs displaced nobody
            self._due = max(self._due, Fraction(0))
        if not self._jobs:  # no saving up for jobs that may come later
            self._due = min(self._due, Fraction(0))


class _Groups(Generic[Entry]):
    """First in, first out within each group."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, deque[tuple[int, Entry]]] = {}  # none is empty
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, entry: Entry, group: Hashable, order: int) -> None:
        self._groups.setdefault(group, deque()).append((order, entry))
        self._size += 1

    def oldest(self) -> Hashable:
        return min(self._groups, key=lambda group: self._groups[group][0][0])

    def take(self, group: Hashable, limit: int) -> list[Entry]:
        entries = self._groups.get(group, deque[tuple[int, Entry]]())
        taken = [entries.popleft()[1] for _ in range(min(limit, len(entries)))]
        self._size -= len(taken)
        if not entries:
            self._groups.pop(group, None)
        return taken

    def drop(self, unwanted: Callable[[Entry], bool]) -> None:
        for group, entries in list(self._groups.items()):
            kept = deque(pair for pair in entries if not unwanted(pair[1]))
            self._size -= len(entries) - len(kept)
            if kept:
                self._groups[group] = kept
            else:
                del self._groups[group]
