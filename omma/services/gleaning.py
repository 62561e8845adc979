"""The stage FEATURES: every picture that is new or changed is looked at, once in a rebuild."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from omma.domain.cards import CardFace, ItemId
from omma.domain.errors import SourceUnavailable
from omma.domain.indexes import RebuildProgress, Stage
from omma.ports.blobs import BlobStore
from omma.ports.cards import Extracted, FeatureLedger, Unextracted
from omma.ports.indexes import ExtractTask, Farm
from omma.services.retention import FEATURES

log = logging.getLogger(__name__)

PAGE = 5000  # faces that the ledger is asked for at once
GIVEN = 3  # pictures that show whether the source is there: one may have gone since

T = TypeVar("T")
Teller = Callable[[RebuildProgress], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class GleaningOptions:
    """How pictures are handed out."""

    features_key: str
    shard_items: int = 256
    max_tries: int = 3


@dataclass(slots=True)
class _Count:
    total: int
    done: int = 0
    failed: int = 0
    doubtful: int = 0
    given: tuple[CardFace, ...] = ()  # before this rebuild
    tried: set[tuple[ItemId, str]] = field(default_factory=set[tuple[ItemId, str]])

    def add(self, rows: Sequence[Extracted]) -> None:
        self.done += len(rows)
        self.failed += sum(bool(row.error) for row in rows)
        self.doubtful += sum(row.is_doubtful for row in rows)

    def progress(self) -> RebuildProgress:
        return RebuildProgress(Stage.FEATURES, self.done, self.total, self.failed)


class Gleaning:
    """Records what came of each shard in one transaction: what is done stays done after a kill."""

    def __init__(
        self,
        ledger: FeatureLedger,
        blobs: BlobStore,
        farm: Farm,
        options: GleaningOptions,
    ) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._farm = farm
        self._options = options

    async def run(self, version: str, tell: Teller) -> int:
        """How many pictures were looked at; `SourceUnavailable` where the source went away.

        One that fails over some pictures and gives others is not away.
        """
        key, max_tries = self._options.features_key, self._options.max_tries
        await self._forget_lost()
        counted = _Count(await self._ledger.count_missing(key, max_tries=max_tries))
        counted.given = tuple(await self._ledger.given(key, limit=GIVEN))
        await tell(counted.progress())
        async with (
            aclosing(self._tasks(version, counted)) as tasks,
            aclosing(self._farm.extract(tasks)) as found,
        ):
            async for rows in found:
                await self._ledger.record(key, rows)
                counted.add(rows)
                await tell(counted.progress())
        if unanswered := len(counted.tried) - counted.done + counted.doubtful:
            raise SourceUnavailable(f"the source of cards did not give {unanswered} pictures")
        return counted.done

    async def _tasks(self, version: str, counted: _Count) -> AsyncGenerator[ExtractTask]:
        numbers = count(1)
        while faces := await self._missing(counted):
            fresh = [face for face in faces if _picture(face) not in counted.tried]
            for some in _chunks(fresh, self._options.shard_items):
                counted.tried.update(map(_picture, some))
                shard = f"{FEATURES}/{version}-{next(numbers):05}.h5"
                yield ExtractTask(shard, tuple(some), counted.given)
                if counted.doubtful:
                    return
            if not fresh:
                return

    async def _missing(self, counted: _Count) -> list[Unextracted]:
        # What is in work, or failed in this rebuild, shows again: it is not to hide the rest.
        limit = PAGE + len(counted.tried) - counted.done + counted.failed
        asked = self._options
        return await self._ledger.missing(
            asked.features_key, limit=limit, max_tries=asked.max_tries
        )

    async def _forget_lost(self) -> None:
        """Shards that are recorded and not there: a store was restored, or cleaned."""
        stored = {each.path async for chunk in self._blobs.list(FEATURES) for each in chunk}
        if lost := await self._ledger.kept() - stored:
            log.warning(
                "shards are lost, their pictures are looked at anew", extra={"n": len(lost)}
            )
            await self._ledger.forget(lost)


def _picture(face: Unextracted) -> tuple[ItemId, str]:
    return ItemId(face.card_id, face.face.number), face.face.image_key


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
