"""Many jobs of one request: all of them are taken, or none."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from omma.domain.errors import (
    BatchNotFound,
    InvalidInput,
    ModelNotFound,
    OmmaError,
    TooManyRequests,
    Unavailable,
)
from omma.domain.jobs import Batch, BatchId, Job, JobFilter, JobPage, Submission
from omma.domain.tokens import Principal
from omma.ports.jobs import BatchStore, JobStore
from omma.services.intake import Intake, Order, as_id, new_id

CHUNK = 500  # jobs of one transaction
CHUNK_S = 60.0  # after which items are recorded, few as they are: who sends them is still there
CHUNK_BYTES = 16 * 1024 * 1024  # of uploads that wait to be put


@dataclass(slots=True)
class _Filling:
    """A batch while its items come."""

    batch_id: BatchId
    operation: str
    waiting: list[Order] = field(default_factory=list[Order])
    waiting_bytes: int = 0
    recorded_at: float = field(default_factory=time.monotonic)
    total: int = 0  # items that came
    is_open: bool = False

    def take(self, order: Order) -> None:
        """Keep an item until there are enough of them."""
        asked = replace(order.asked, batch_id=self.batch_id, position=self.total)
        self.waiting.append(replace(order, asked=asked))
        self.waiting_bytes += sum(len(p) for p in order.pictures if isinstance(p, bytes))
        self.total += 1

    @property
    def is_full(self) -> bool:
        """Whether it is time to record what waits."""
        is_large = len(self.waiting) >= CHUNK or self.waiting_bytes >= CHUNK_BYTES
        return is_large or time.monotonic() - self.recorded_at >= CHUNK_S

    def empty(self) -> list[Order]:
        """What waited; it is recorded now."""
        orders, self.waiting, self.waiting_bytes = self.waiting, [], 0
        self.recorded_at = time.monotonic()
        return orders


class BatchService:
    """Use cases over batches; those of others look as if they were not there."""

    def __init__(self, store: JobStore, batches: BatchStore, intake: Intake) -> None:
        self._store = store
        self._batches = batches
        self._intake = intake

    async def submit(self, owner: str, operation: str, orders: AsyncIterator[Order]) -> Batch:
        """Record every order as it comes; none runs before the last was recorded.

        The first that is wrong undoes all: its error names its place, from 0.
        """
        self._intake.handler(operation)
        filling = _Filling(BatchId(new_id()), operation)
        is_closed = False
        try:
            async for order in orders:
                await self._take(filling, order, owner)
            await self._record(filling, owner)
            if not filling.total:
                raise InvalidInput("expected one item or more")
            await self._batches.close(filling.batch_id)
            is_closed = True
        finally:
            if filling.is_open and not is_closed:
                await asyncio.shield(self._batches.abandon(filling.batch_id))
        return _found(await self._batches.get(filling.batch_id))

    async def _take(self, filling: _Filling, order: Order, owner: str) -> None:
        most = self._intake.rules.max_batch_items
        if filling.total >= most:
            raise InvalidInput(f"expected at most {most} items in one batch")
        try:
            filling.take(self._intake.check(order))
        except OmmaError as error:
            raise at_item(filling.total, error) from None
        if filling.is_full:
            await self._record(filling, owner)

    async def _record(self, filling: _Filling, owner: str) -> None:
        orders = filling.empty()
        if not orders:
            return
        if not filling.is_open:
            await self._batches.open(filling.batch_id, owner, filling.operation)
            filling.is_open = True
        submissions = await asyncio.gather(*map(self._intake.store, orders))
        outcomes = await self._store.submit(submissions, quota=self._intake.rules.quota)
        for asked, outcome in zip(submissions, outcomes, strict=True):
            _check_outcome(asked, outcome)

    async def get(self, principal: Principal, batch_id: str) -> Batch:
        """How far it is; `BatchNotFound` for what is unknown or another's."""
        known = as_id(batch_id)
        batch = _found(await self._batches.get(BatchId(known)) if known else None)
        if not principal.may_see(batch.owner):
            raise _unknown()
        return batch

    async def items(self, batch: Batch, *, cursor: str, limit: int) -> JobPage:
        """Its jobs, the last item first."""
        wanted = JobFilter(batch_id=batch.batch_id)
        return await self._store.page(wanted, cursor=cursor, limit=limit)

    async def cancel(self, principal: Principal, batch_id: str) -> int:
        """Cancel every job of it that has not ended; how many those were."""
        batch = await self.get(principal, batch_id)
        return await self._batches.cancel(batch.batch_id)


def at_item(index: int, error: OmmaError) -> OmmaError:
    """The same error, which says at which item."""
    place = f"item {index}: "
    match error:
        case ModelNotFound():
            return ModelNotFound(error.name, error.known, place)
        case Unavailable() | TooManyRequests():
            return type(error)(f"{place}{error}", error.retry_after_s)
        case _:
            return type(error)(f"{place}{error}")


def _check_outcome(asked: Submission, outcome: Job | OmmaError) -> None:
    if isinstance(outcome, OmmaError):
        raise at_item(asked.position, outcome)


def _found(batch: Batch | None) -> Batch:
    if batch is None:
        raise _unknown()
    return batch


def _unknown() -> BatchNotFound:
    return BatchNotFound("no batch with this id")
