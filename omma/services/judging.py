"""The canary gate: whether a new snapshot answers as well as the one that is served."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import numpy as np

from omma.domain.cards import ItemId, RecogniseOptions, Recognition
from omma.domain.errors import IndexCorrupt, OmmaError, SnapshotNotFound
from omma.domain.indexes import Score, Verdict
from omma.ports.blobs import BlobStore
from omma.ports.cards import CardEngine, CardEngines, CardRecords, CardSource, Corrections
from omma.ports.indexes import JudgeTask, SnapshotFiles, Snapshots
from omma.services.assembling import read_contents
from omma.services.canaries import (
    Canaries,
    Canary,
    CanaryPorts,
    Kind,
    Photographer,
    Rgb,
    moderate,
)
from omma.services.verdicts import GateRules, Judged, Marked, Marks, verdict_of
from omma.vision.images import ImageLimits

log = logging.getLogger(__name__)

NO_SCORE = Score(0, 0, 0, 0.0, 0.0)
OPTIONS = RecogniseOptions(max_cards=1)


@dataclass(frozen=True, slots=True)
class GatePorts:
    """What the gate looks at."""

    source: CardSource
    cards: CardRecords
    corrections: Corrections
    snapshots: Snapshots
    files: SnapshotFiles
    blobs: BlobStore
    engines: CardEngines


@dataclass(slots=True)
class Tally:
    """What one index answered."""

    marks: dict[Kind, Marks] = field(default_factory=lambda: {kind: Marks() for kind in Kind})
    took_ms: list[float] = field(default_factory=list[float])  # for what both were asked

    def marked(self) -> Marked:
        """Of each kind, and of all canaries."""
        kinds = self.marks.values()
        p50, p95 = np.percentile(self.took_ms, [50, 95]) if self.took_ms else (0.0, 0.0)
        score = Score(
            queries=sum(each.asked for each in kinds),
            right=sum(each.right for each in kinds),
            false=sum(each.false for each in kinds),
            p50_ms=float(p50),
            p95_ms=float(p95),
        )
        marks = (self.marks[kind] for kind in (Kind.KNOWN, Kind.NEW, Kind.CORRECTED))
        return Marked(score, *marks)


@dataclass(slots=True, eq=False)
class Contestant:
    """A snapshot that was opened, and how it does."""

    engine: CardEngine
    items: list[ItemId]  # empty where its files do not say
    tally: Tally = field(default_factory=Tally)
    known: frozenset[ItemId] = field(init=False)

    def __post_init__(self) -> None:
        self.known = frozenset(self.items)

    @property
    def item_count(self) -> int:
        """How many items it has, by its own account."""
        return len(self.items) or self.engine.stats.items


class Judging:
    """Asks both snapshots the same canaries in turns, in this process."""

    def __init__(
        self,
        ports: GatePorts,
        rules: GateRules,
        limits: ImageLimits,
        *,
        photograph: Photographer = moderate,
    ) -> None:
        self._ports = ports
        self._rules = rules
        self._canaries = Canaries(
            CanaryPorts(ports.source, ports.cards, ports.corrections, ports.blobs),
            limits,
            wanted=rules.canaries,
            photograph=photograph,
        )

    async def judge(self, task: JudgeTask) -> Verdict:
        """Answers for a candidate that cannot be opened too; it is refused.

        Copies of older snapshots leave this machine: on one that serves none nobody else does it.
        """
        try:
            return await self._judge(task)
        finally:
            await self._evict(task)

    async def _evict(self, task: JudgeTask) -> None:
        try:
            await self._ports.files.evict(task.name, [task.candidate, task.running])
        except (OmmaError, OSError) as error:
            log.warning("could not remove copies of snapshots", extra={"reason": str(error)})

    async def _judge(self, task: JudgeTask) -> Verdict:
        async with AsyncExitStack() as stack:
            try:
                candidate = await self._open(stack, task.name, task.candidate)
            except (IndexCorrupt, SnapshotNotFound) as error:
                reason = f"the new snapshot cannot be opened: {error}"
                return Verdict(
                    is_accepted=False, reasons=(reason,), candidate=NO_SCORE, running=None
                )
            running, why_alone = await self._open_running(stack, task)
            await self._compare(task, candidate, running)
            judged = Judged(
                candidate=candidate.tally.marked(),
                running=running and running.tally.marked(),
                items=candidate.item_count,
                running_items=running.item_count if running else 0,
                lost=_lost(candidate, running),
                is_same_source=running is not None and await self._is_same_source(task),
            )
            return verdict_of(judged, self._rules, notes=why_alone)

    async def _open(self, stack: AsyncExitStack, name: str, version: str) -> Contestant:
        folder = await self._ports.files.fetch(name, version)
        engine = await asyncio.to_thread(self._ports.engines.open, folder, version=version)
        stack.callback(engine.close)
        return Contestant(engine, await asyncio.to_thread(read_contents, folder))

    async def _open_running(
        self, stack: AsyncExitStack, task: JudgeTask
    ) -> tuple[Contestant | None, tuple[str, ...]]:
        if not task.running:
            return None, ("no snapshot was published before",)
        try:
            return await self._open(stack, task.name, task.running), ()
        except (IndexCorrupt, SnapshotNotFound) as error:
            log.warning("cannot open the published snapshot", extra={"reason": str(error)})
            return None, (f"the published snapshot cannot be opened: {error}",)

    async def _is_same_source(self, task: JudgeTask) -> bool:
        """Whether both were made of cards of the same source; one that is unknown counts as so."""
        reports = {
            each.version: each.report.get("source")
            for each in await self._ports.snapshots.listed(task.name)
        }
        return reports.get(task.candidate) == reports.get(task.running) or not reports.get(
            task.running
        )

    async def _compare(
        self, task: JudgeTask, candidate: Contestant, running: Contestant | None
    ) -> None:
        """Ask everything there is to ask; what is new in the candidate is asked of it alone."""
        both = [candidate] if running is None else [candidate, running]
        is_first = True
        async for canary in self._asked(task.seed, candidate, running):
            is_new = canary.kind is Kind.NEW
            turns = [candidate] if is_new else both
            if is_first:  # nobody is timed while pages are read for the first time
                await asyncio.gather(*(_ask(each.engine, canary.image) for each in turns))
            for each in turns:
                answer, took_ms = await _ask(each.engine, canary.image)
                if not is_new:
                    each.tally.took_ms.append(took_ms)
                await self._mark(each.tally.marks[canary.kind], canary, answer, running)
            both.reverse()  # caches favour who comes last
            is_first = False

    async def _asked(
        self, seed: int, candidate: Contestant, running: Contestant | None
    ) -> AsyncIterator[Canary]:
        before = running.items if running else []
        async for canary in self._canaries.drawn(seed, candidate.items, before):
            yield canary
        async for canary in self._canaries.corrected(self._rules.max_corrections):
            yield canary

    async def _mark(
        self, marks: Marks, canary: Canary, answer: Recognition, running: Contestant | None
    ) -> None:
        is_right = await self._is_right(canary, answer, running)
        marks.asked += 1
        marks.right += is_right
        marks.false += bool(answer.matches) and not is_right

    async def _is_right(
        self, canary: Canary, answer: Recognition, running: Contestant | None
    ) -> bool:
        if not answer.matches:
            return canary.card is None
        match = answer.matches[0]
        if canary.card is None:  # it was said of an index that had less: the card may be new
            return running is not None and match.item not in running.known
        if match.item.card_id == canary.card.card_id:
            return True
        if match.is_printing_certain:
            return False
        if not canary.illustration:
            return any(each.card_id == canary.card.card_id for each in match.printings)
        claimed = await self._ports.cards.get([match.item.card_id])
        faces = [face for card in claimed.values() for face in card.faces]
        return any(face.illustration == canary.illustration for face in faces)


async def _ask(engine: CardEngine, image: Rgb) -> tuple[Recognition, float]:
    def ask() -> tuple[Recognition, float]:
        started = time.perf_counter()
        [answer] = engine.recognise([image], OPTIONS)
        return answer, (time.perf_counter() - started) * 1000

    return await asyncio.to_thread(ask)


def _lost(candidate: Contestant, running: Contestant | None) -> int:
    """Items of the running snapshot that the candidate has no more."""
    if running is None:
        return 0
    if candidate.items and running.items:
        return len(running.known - candidate.known)
    return max(0, running.item_count - candidate.item_count)
