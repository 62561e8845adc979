"""An index made of a bundle that somebody else made: no source, no records, no gate."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from omma.domain.indexes import (
    CARDS,
    IndexStats,
    RebuildProgress,
    RebuildReport,
    Snapshot,
    SnapshotState,
    Stage,
)
from omma.ports.cards import CardEngines, FeatureReader
from omma.ports.indexes import RebuildWatcher, SnapshotFiles, Snapshots
from omma.ports.leases import Leases
from omma.services.assembling import write_contents
from omma.services.indexes import LEASE
from omma.services.leasing import under_lease
from omma.services.retention import Retention
from omma.services.versions import new_version

SOURCE = "bundle"  # as a snapshot's report names it


@dataclass(frozen=True, slots=True)
class ImportTask:
    """A snapshot to be made of a bundle."""

    where: str  # a URL or a path
    version: str


OpenBundle = Callable[[str, Path], Awaitable[FeatureReader]]  # a URL or path, and a folder for it
BuildIndex = Callable[[ImportTask], Awaitable[IndexStats]]  # `BundleBuilding.build`, here or there


class BundleBuilding:
    """What one import task does: read a bundle, build the index of it, put its files."""

    def __init__(
        self, open_bundle: OpenBundle, engines: CardEngines, files: SnapshotFiles, *, work: Path
    ) -> None:
        self._open_bundle = open_bundle
        self._engines = engines
        self._files = files
        self._work = work / "import"

    async def build(self, task: ImportTask) -> IndexStats:
        """Answers when all files of the snapshot are in the blob store."""
        # One import at a time: what else lies here was left by one that was killed.
        await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)
        folder = self._work / task.version
        try:
            await asyncio.to_thread(folder.mkdir, parents=True)
            features = await self._open_bundle(task.where, folder)
            return await self._built(task, features, folder / "index")
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _built(self, task: ImportTask, features: FeatureReader, index: Path) -> IndexStats:
        def build() -> IndexStats:
            index.mkdir()
            stats = self._engines.build(features, index, version=task.version)
            write_contents(index, (each.item for each in features.read()))
            return stats

        stats = await asyncio.to_thread(build)
        return replace(stats, size_bytes=await self._files.put(CARDS, task.version, index))


@dataclass(frozen=True, slots=True)
class ImportPorts:
    """Who builds, where the outcome is recorded, and what removes older ones."""

    build: BuildIndex
    snapshots: Snapshots
    leases: Leases
    retention: Retention


class BundleImport:
    """Has an index built and publishes it: nobody can judge it who knows no pictures."""

    def __init__(
        self,
        ports: ImportPorts,
        where: str,
        *,
        lease_s: float = 60.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ports = ports
        self._where = where
        self._lease_s = lease_s
        self._clock = clock

    @property
    def where(self) -> str:
        """The bundle: a URL or a path."""
        return self._where

    async def run(self, watcher: RebuildWatcher, *, holder: str) -> RebuildReport:
        """What was imported; `RebuildRunning` while the index is rebuilt."""
        work = self._run(watcher)
        return await under_lease(self._ports.leases, LEASE, holder, work, ttl_s=self._lease_s)

    async def _run(self, watcher: RebuildWatcher) -> RebuildReport:
        started, version = time.monotonic(), new_version(self._clock())
        await watcher(RebuildProgress(Stage.ASSEMBLY))
        stats = await self._ports.build(ImportTask(self._where, version))
        await watcher(RebuildProgress(Stage.PUBLICATION, stats.items, stats.items))
        await self._publish(version, stats)
        await self._ports.retention.run(CARDS)
        return RebuildReport(
            version=version,
            verdict=None,
            is_published=True,
            cards=0,  # a bundle has no records
            faces=stats.items,
            fetched=0,
            removed=0,
            took_s=time.monotonic() - started,
        )

    async def _publish(self, version: str, stats: IndexStats) -> None:
        made = {"source": SOURCE, "faces": stats.items}
        snapshots, at = self._ports.snapshots, self._clock()
        await snapshots.add(Snapshot(CARDS, version, SnapshotState.BUILT, stats, at, report=made))
        before = await snapshots.published(CARDS)
        await snapshots.publish(CARDS, version, expected=before.sequence if before else 0)
