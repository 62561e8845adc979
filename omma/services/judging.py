"""The canary gate: whether a new snapshot answers as well as the one that is served."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from omma.domain.cards import Card, CardFace, ItemId, RecogniseOptions, Recognition
from omma.domain.errors import IndexCorrupt, OmmaError, SnapshotNotFound, SourceUnavailable
from omma.domain.indexes import Score, Verdict
from omma.ports.blobs import BlobStore
from omma.ports.cards import CardEngine, CardEngines, CardRecords, CardSource, Corrections
from omma.ports.indexes import JudgeTask, SnapshotFiles, Snapshots
from omma.services.assembling import read_contents
from omma.services.verdicts import GateRules, Judged, verdict_of
from omma.vision.distortions import Severity, distort
from omma.vision.images import ImageLimits, decode, probe

log = logging.getLogger(__name__)

AT_ONCE = 4  # pictures that are fetched
LOOK_UP = 100  # cards of one query to the records
FEW = 40  # with fewer items each is asked several times: one unlucky photo shall not decide
LEAST_PART = 0.5  # of the canaries: with fewer pictures than that the source is to be asked later
NO_SCORE = Score(0, 0, 0, 0.0, 0.0)
OPTIONS = RecogniseOptions(max_cards=1)

Rgb = UInt8[np.ndarray, "h w 3"]
Photographer = Callable[[Rgb, np.random.Generator], Rgb]


def moderate(picture: Rgb, rng: np.random.Generator) -> Rgb:
    """A photograph of a picture as somebody takes it with some care."""
    return distort(picture, Severity.MODERATE, rng).image


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


@dataclass(frozen=True, slots=True, eq=False)
class Canary:
    """An image with a known answer."""

    image: Rgb
    card: Card | None  # None: no card of the index is in it
    illustration: str = ""
    is_drawn: bool = True  # else a correction


@dataclass(slots=True)
class Tally:
    """What one index answered."""

    right: int = 0
    right_drawn: int = 0
    false: int = 0
    took_ms: list[float] = field(default_factory=list[float])

    def score(self) -> Score:
        """Of all canaries."""
        p50, p95 = np.percentile(self.took_ms, [50, 95]) if self.took_ms else (0.0, 0.0)
        return Score(len(self.took_ms), self.right, self.false, float(p50), float(p95))


@dataclass(slots=True, eq=False)
class Contestant:
    """A snapshot that was opened, and how it does."""

    engine: CardEngine
    items: list[ItemId]  # empty where its files do not say
    tally: Tally = field(default_factory=Tally)

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
        self._photograph = photograph
        self._ports = ports
        self._rules = rules
        self._limits = limits

    async def judge(self, task: JudgeTask) -> Verdict:
        """Answers for a candidate that cannot be opened too; it is refused."""
        async with AsyncExitStack() as stack:
            try:
                candidate = await self._open(stack, task.name, task.candidate)
            except (IndexCorrupt, SnapshotNotFound) as error:
                reason = f"the new snapshot cannot be opened: {error}"
                return Verdict(
                    is_accepted=False, reasons=(reason,), candidate=NO_SCORE, running=None
                )
            running, why_alone = await self._open_running(stack, task)
            drawn = await self._compare(task, candidate, running)
            judged = Judged(
                candidate=candidate.tally.score(),
                running=running and running.tally.score(),
                drawn=drawn,
                drawn_right=candidate.tally.right_drawn,
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
    ) -> int:
        """Ask everything there is to ask; how many canaries were drawn from the items."""
        contestants = [candidate] if running is None else [candidate, running]
        asked = drawn = 0
        async for canary in self._canaries(task.seed, candidate, running):
            turns = contestants if asked % 2 else contestants[::-1]  # caches favour who comes last
            if not asked:  # and nobody is timed while pages are read for the first time
                await asyncio.gather(*(_ask(each.engine, canary.image) for each in turns))
            for each in turns:
                answer, took_ms = await _ask(each.engine, canary.image)
                each.tally.took_ms.append(took_ms)
                await self._mark(each.tally, canary, answer)
            asked += 1
            drawn += canary.is_drawn
        return drawn

    async def _mark(self, tally: Tally, canary: Canary, answer: Recognition) -> None:
        is_right = await self._is_right(canary, answer)
        tally.right += is_right
        tally.right_drawn += is_right and canary.is_drawn
        tally.false += bool(answer.matches) and not is_right

    async def _is_right(self, canary: Canary, answer: Recognition) -> bool:
        if canary.card is None or not answer.matches:
            return canary.card is None and not answer.matches
        match = answer.matches[0]
        if match.item.card_id == canary.card.card_id:
            return True
        if match.is_printing_certain:
            return False
        if not canary.illustration:
            return any(each.card_id == canary.card.card_id for each in match.printings)
        claimed = await self._ports.cards.get([match.item.card_id])
        faces = [face for card in claimed.values() for face in card.faces]
        return any(face.illustration == canary.illustration for face in faces)

    async def _canaries(
        self, seed: int, candidate: Contestant, running: Contestant | None
    ) -> AsyncIterator[Canary]:
        faces = await self._draw(running.items if running else [], seed)
        if not faces:  # nothing ran, or what ran is of another source altogether
            faces = await self._draw(candidate.items, seed)
        wanted = min(self._rules.canaries, max(len(faces), FEW)) if faces else 0
        faces *= -(-wanted // len(faces)) if faces else 1
        given = 0
        for start in range(0, len(faces), AT_ONCE):
            some = faces[start : start + min(AT_ONCE, wanted - given)]
            pictures = await asyncio.gather(*(self._picture(face) for _, face in some))
            for number, ((card, face), picture) in enumerate(zip(some, pictures, strict=True)):
                if picture is None:
                    continue
                rng = np.random.default_rng([seed, start + number])
                photo = await asyncio.to_thread(self._photograph, picture, rng)
                yield Canary(photo, card, face.illustration)
                given += 1
            if given >= wanted:
                break
        if given < LEAST_PART * wanted:
            raise SourceUnavailable(f"the source gave {given} of {wanted} pictures of canaries")
        async for canary in self._corrected():
            yield canary

    async def _draw(self, items: Sequence[ItemId], seed: int) -> list[tuple[Card, CardFace]]:
        """Twice as many faces as are wanted, since some pictures may not be had."""
        order: list[int] = np.random.default_rng(seed).permutation(len(items)).tolist()
        chosen = [items[number] for number in order]
        found: list[tuple[Card, CardFace]] = []
        for start in range(0, len(chosen), LOOK_UP):
            if len(found) >= 2 * self._rules.canaries:
                break
            some = chosen[start : start + LOOK_UP]
            cards = await self._ports.cards.get({item.card_id for item in some})
            found += [
                (card, face)
                for item in some
                if (card := cards.get(item.card_id))
                for face in card.faces
                if face.number == item.face
            ]
        return found

    async def _picture(self, face: CardFace) -> Rgb | None:
        try:
            return await self._decoded(await self._ports.source.image(face))
        except OmmaError as error:
            log.info("a canary has no picture", extra={"reason": str(error)})
            return None

    async def _corrected(self) -> AsyncIterator[Canary]:
        if not self._rules.max_corrections:
            return
        corrections = await self._ports.corrections.recent(limit=self._rules.max_corrections)
        known = await self._ports.cards.get(
            {each.item.card_id for each in corrections if each.item}
        )
        for each in corrections:
            card = known.get(each.item.card_id) if each.item else None
            if each.item and card is None:
                continue  # the source no longer has it: nobody can answer rightly
            try:
                image = await self._decoded(await self._ports.blobs.read(each.image))
            except OmmaError as error:
                extra = {"correction": each.correction_id, "reason": str(error)}
                log.warning("a correction's image cannot be read", extra=extra)
                continue
            faces = card.faces if card else ()
            arts = [
                face.illustration for face in faces if each.item and face.number == each.item.face
            ]
            yield Canary(image, card, arts[0] if arts else "", is_drawn=False)

    async def _decoded(self, data: bytes) -> Rgb:
        return await asyncio.to_thread(lambda: decode(data, probe(data, self._limits)))


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
        return len(set(running.items) - set(candidate.items))
    return max(0, running.item_count - candidate.item_count)
