"""An index made of a bundle that somebody else made: no source, no records, no gate."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

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
from omma.services.versions import new_version

SOURCE = "bundle"  # as a snapshot's report names it

OpenBundle = Callable[[str, Path], Awaitable[FeatureReader]]  # a URL or path, and a folder for it


@dataclass(frozen=True, slots=True)
class ImportPorts:
    """What an import reads and writes."""

    open_bundle: OpenBundle
    engines: CardEngines
    files: SnapshotFiles
    snapshots: Snapshots
    leases: Leases


class BundleImport:
    """Builds in this process and publishes: nobody can judge it who knows no pictures."""

    def __init__(
        self,
        ports: ImportPorts,
        where: str,
        *,
        work: Path,
        lease_s: float = 60.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ports = ports
        self._where = where
        self._work = work
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
        async with _folder(self._work) as folder:
            await watcher(RebuildProgress(Stage.FEATURES))
            features = await self._ports.open_bundle(self._where, folder)
            items = len(features)
            await watcher(RebuildProgress(Stage.ASSEMBLY, 0, items))
            stats = await self._built(features, folder / "index", version)
        await watcher(RebuildProgress(Stage.PUBLICATION, items, items))
        await self._publish(version, stats)
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

    async def _built(self, features: FeatureReader, index: Path, version: str) -> IndexStats:
        def build() -> IndexStats:
            index.mkdir()
            stats = self._ports.engines.build(features, index, version=version)
            write_contents(index, (each.item for each in features.read()))
            return stats

        stats = await asyncio.to_thread(build)
        return replace(stats, size_bytes=await self._ports.files.put(CARDS, version, index))

    async def _publish(self, version: str, stats: IndexStats) -> None:
        made = {"source": SOURCE, "faces": stats.items}
        snapshots, at = self._ports.snapshots, self._clock()
        await snapshots.add(Snapshot(CARDS, version, SnapshotState.BUILT, stats, at, report=made))
        before = await snapshots.published(CARDS)
        await snapshots.publish(CARDS, version, expected=before.sequence if before else 0)


@asynccontextmanager
async def _folder(work: Path) -> AsyncGenerator[Path]:
    """One of its own, gone afterwards; a build that was cancelled may still write to it."""
    await asyncio.to_thread(work.mkdir, parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="import-", dir=work, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
