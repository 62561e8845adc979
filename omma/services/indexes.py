"""What a rebuild of the index of cards does, from the source's records to a published snapshot.

records -> features -> assembly -> judgement -> publication, each recorded before the next one
begins: a rebuild that was killed leaves what the next one goes on with, or what it removes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path

from omma.domain.cards import ItemId
from omma.domain.errors import InvalidInput, PublishConflict, SnapshotRefused
from omma.domain.indexes import (
    CARDS,
    Published,
    RebuildProgress,
    RebuildReport,
    Snapshot,
    SnapshotState,
    SourcePlan,
    Stage,
    Verdict,
)
from omma.domain.jobs import Json
from omma.ports.blobs import BlobStore
from omma.ports.cards import CardRecords, CardSource, Corrections, FeatureLedger
from omma.ports.indexes import (
    AssembleTask,
    Farm,
    JudgeTask,
    RebuildWatcher,
    Servings,
    SnapshotFiles,
    Snapshots,
)
from omma.ports.leases import Leases
from omma.services.gleaning import Gleaning, GleaningOptions
from omma.services.leasing import under_lease
from omma.services.leftovers import IMPORTS, remove_leftovers
from omma.services.reports import kept_report, logged_report
from omma.services.retention import GRACE, Kept, Retention
from omma.services.shelf import Shelf
from omma.services.versions import new_version

log = logging.getLogger(__name__)

LEASE = f"rebuild:{CARDS}"
SHOWN_FAILURES = 100
VERDICTS = 2  # a snapshot that was published meanwhile is another one to be compared with


@dataclass(frozen=True, slots=True)
class RebuildPorts:
    """Everything a rebuild reads and writes, and the hands that do its work."""

    source: CardSource | None  # None: nobody has chosen one
    cards: CardRecords
    ledger: FeatureLedger
    snapshots: Snapshots
    servings: Servings
    files: SnapshotFiles
    blobs: BlobStore
    leases: Leases
    farm: Farm
    corrections: Corrections


@dataclass(frozen=True, slots=True)
class RebuildOptions:
    """How an index is rebuilt; `omma.settings.IndexSettings` says the same."""

    work: Path  # of this machine: downloads that are resumed
    features_key: str
    index_form: str = ""
    shard_items: int = 256
    max_tries: int = 3
    keep: int = 3
    lease_s: float = 60.0
    max_loss: float = 0.05  # part of the known cards that a source may have no more
    grace: timedelta = GRACE


@dataclass(slots=True)
class _Run:
    """One rebuild while it runs."""

    watcher: RebuildWatcher
    is_forced: bool
    version: str  # of a new snapshot, of shards, of the pass through the source
    started: float = field(default_factory=time.monotonic)
    removed: int = 0
    fetched: int = 0
    made: int = 0  # faces whose features there are


class IndexRebuild:
    """One rebuild at a time, whoever starts it and wherever."""

    def __init__(
        self,
        ports: RebuildPorts,
        options: RebuildOptions,
        *,
        on_refusal: Callable[[], None] = lambda: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ports = ports
        self._options = options
        self._on_refusal = on_refusal
        self._clock = clock
        kept = Kept(
            ports.snapshots, ports.servings, ports.files, ports.ledger, ports.blobs,
            ports.corrections,
        )  # fmt: skip
        self._shelf = Shelf(ports.snapshots, ports.files, options.index_form)
        self._retention = Retention(kept, keep=options.keep, clock=clock, grace=options.grace)
        gleaning = GleaningOptions(options.features_key, options.shard_items, options.max_tries)
        self._gleaning = Gleaning(ports.ledger, ports.blobs, ports.farm, gleaning)

    async def plan(self) -> SourcePlan:
        """What `run` would do: the source's totals, less what the ledger has already."""
        plan = await self._source().plan()
        _, faces = await self._ports.cards.count()
        missing = await self._ports.ledger.count_missing(
            self._options.features_key, max_tries=self._options.max_tries
        )
        made = max(0, faces - missing)
        new = max(missing, plan.new_images - made)
        part = min(1.0, new / plan.new_images) if plan.new_images else 0.0
        return replace(
            plan,
            new_images=new,
            download_bytes=round(plan.download_bytes * part),
            hours=plan.hours * part,
            is_exact=plan.is_exact and not made,
        )

    async def run(
        self, watcher: RebuildWatcher, *, holder: str, force: bool = False
    ) -> RebuildReport:
        """Rebuild and publish what the gate accepts; nothing new ends early, unless ``force``.

        `RebuildRunning` while another holder does; a former run of this one is taken over from.
        `SnapshotRefused` where the source itself has lost too much, unless ``force``.
        `SourceUnavailable` and `StoreUnavailable` leave what the next run goes on with.
        """
        run = _Run(watcher, force, new_version(self._clock()))
        await watcher(RebuildProgress(Stage.WAITING))
        return await under_lease(
            self._ports.leases, LEASE, holder, self._run(run), ttl_s=self._options.lease_s
        )

    async def close(self) -> None:
        """Close the source's connections."""
        if self._ports.source is not None:
            await self._ports.source.close()

    async def _run(self, run: _Run) -> RebuildReport:
        await asyncio.to_thread(remove_leftovers, self._options.work, IMPORTS)
        await self._read_records(run)
        run.fetched = await self._gleaning.run(run.version, run.watcher)
        snapshot = await self._snapshot(run)
        report = await (self._judge(run, snapshot) if snapshot else self._report(run, "", None))
        await self._retention.run(CARDS)
        log.info("a rebuild has ended", extra=logged_report(report))
        return report

    async def _read_records(self, run: _Run) -> None:
        cards, _ = await self._ports.cards.count()
        seen = 0
        await run.watcher(RebuildProgress(Stage.RECORDS, 0, cards))
        async for some in self._source().cards(self._options.work):
            await self._ports.cards.upsert(some, seen_in=run.version)
            seen += len(some)
            await run.watcher(RebuildProgress(Stage.RECORDS, seen, max(seen, cards)))
        await self._require_enough(run, seen, cards)
        run.removed = await self._ports.cards.remove_unseen(run.version)

    async def _require_enough(self, run: _Run, seen: int, known: int) -> None:
        """What is removed can be answered no more, though the snapshot that runs knows it."""
        least = known * (1 - self._options.max_loss)
        if run.is_forced or seen >= least or not await self._is_same_source():
            return
        reason = (
            f"the source told of {seen} cards where {known} are known,"
            f" expected at least {least:.0f}: force the rebuild if that is right"
        )
        log.error("a rebuild was refused", extra={"index": CARDS, "reason": reason})
        self._on_refusal()
        raise SnapshotRefused(reason)

    async def _is_same_source(self) -> bool:
        """Whether the snapshot that runs was made of this source."""
        running = await self._shelf.running()
        return running is not None and running.report.get("source") == self._source().name

    async def _snapshot(self, run: _Run) -> Snapshot | None:
        """One of all features that there are, or the one that a killed rebuild did not judge.

        None where just that is served. The ledger is read here alone, and forgotten again.
        """
        shards = await self._ports.ledger.shards(self._options.features_key)
        run.made = sum(map(len, shards.values()))
        contents = self._contents(shards)
        if not run.is_forced:
            if await self._shelf.is_known(contents):
                return None
            if unjudged := await self._shelf.unjudged(contents):
                return unjudged
        return await self._built(run, contents, shards)

    def _contents(self, shards: Mapping[str, Sequence[ItemId]]) -> str:
        """Of which items and features a snapshot would be made now, in one number."""
        forms = f"{self._options.features_key} {self._options.index_form}"
        digest = blake2b(forms.encode(), digest_size=16)
        for shard, items in shards.items():
            digest.update(f"\n{shard}".encode())
            for item in items:
                digest.update(f"\t{item.card_id}\t{item.face}".encode())
        return digest.hexdigest()

    async def _built(
        self, run: _Run, contents: str, shards: Mapping[str, Sequence[ItemId]]
    ) -> Snapshot:
        await run.watcher(RebuildProgress(Stage.ASSEMBLY, 0, run.made))
        task = AssembleTask(
            CARDS, run.version, tuple((path, tuple(items)) for path, items in shards.items())
        )
        stats = await self._ports.farm.assemble(task)
        await run.watcher(RebuildProgress(Stage.ASSEMBLY, run.made, run.made))
        form = self._options.index_form
        made = {"contents": contents, "source": self._source().name, "form": form}
        snapshot = Snapshot(
            CARDS, run.version, SnapshotState.BUILT, stats, self._clock(), report=made
        )
        await self._ports.snapshots.add(snapshot)
        return snapshot

    async def _judge(self, run: _Run, snapshot: Snapshot) -> RebuildReport:
        for tries_left in reversed(range(VERDICTS)):
            await run.watcher(RebuildProgress(Stage.JUDGEMENT))
            published = await self._ports.snapshots.published(CARDS)
            running = published.version if published else ""
            seed = int(blake2b(snapshot.version.encode(), digest_size=4).hexdigest(), 16)
            verdict = await self._ports.farm.judge(
                JudgeTask(CARDS, snapshot.version, running, seed)
            )
            report = await self._report(run, snapshot.version, verdict)
            kept = {**snapshot.report, **kept_report(report)}
            if not verdict.is_accepted:
                await self._refuse(snapshot, verdict, kept)
                return report
            try:
                return await self._publish(run, report, kept, published)
            except PublishConflict:
                if not tries_left:
                    raise
        raise AssertionError(VERDICTS)

    async def _refuse(self, snapshot: Snapshot, verdict: Verdict, kept: Json) -> None:
        await self._ports.snapshots.judge(CARDS, snapshot.version, SnapshotState.REFUSED, kept)
        self._on_refusal()
        extra = {"snapshot": snapshot.version, "reason": "; ".join(verdict.reasons)}
        log.error("the gate refused a snapshot, the old one stays", extra=extra)

    async def _publish(
        self, run: _Run, report: RebuildReport, kept: Json, published: Published | None
    ) -> RebuildReport:
        await run.watcher(RebuildProgress(Stage.PUBLICATION))
        await self._ports.snapshots.judge(CARDS, report.version, SnapshotState.BUILT, kept)
        expected = published.sequence if published else 0
        await self._ports.snapshots.publish(CARDS, report.version, expected=expected)
        return replace(report, is_published=True)

    async def _report(self, run: _Run, version: str, verdict: Verdict | None) -> RebuildReport:
        cards, faces = await self._ports.cards.count()
        failed = await self._ports.ledger.failures(self._options.features_key, limit=SHOWN_FAILURES)
        return RebuildReport(
            version=version,
            verdict=verdict,
            is_published=False,
            cards=cards,
            faces=faces,
            fetched=run.fetched,
            removed=run.removed,
            failed=tuple(failed),
            failed_count=max(0, faces - run.made),
            took_s=time.monotonic() - run.started,
        )

    def _source(self) -> CardSource:
        if self._ports.source is None:
            raise InvalidInput("no source of cards is chosen: set OMMA_CARDS__SOURCE__TYPE")
        return self._ports.source
