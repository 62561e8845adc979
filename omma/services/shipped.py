"""An index that comes with the package, published as it is: nobody waits for one to be built."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from omma.domain.indexes import CARDS, IndexStats, Snapshot, SnapshotState
from omma.ports.cards import CardRecords, CardSource
from omma.ports.indexes import SnapshotFiles, Snapshots
from omma.ports.leases import Leases
from omma.services.indexes import LEASE
from omma.services.leasing import under_lease
from omma.services.versions import new_version

LEASE_S = 60.0  # nothing is built: a publication takes a second


@dataclass(frozen=True, slots=True)
class ShippedPorts:
    """Where the cards of the index come from, and where both are recorded."""

    source: CardSource
    cards: CardRecords
    snapshots: Snapshots
    files: SnapshotFiles
    leases: Leases


class ShippedIndex:
    """A snapshot's files in ``folder``, built of the pictures of the source."""

    def __init__(
        self,
        ports: ShippedPorts,
        folder: Path,
        stats: IndexStats,
        *,
        index_form: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ports = ports
        self._folder = folder
        self._stats = stats
        self._form = index_form
        self._clock = clock

    async def publish(self) -> None:
        """Record its cards, and let it be served; `RebuildRunning` while the index is rebuilt."""
        version = new_version(self._clock())
        work = self._publish(version)
        await under_lease(self._ports.leases, LEASE, version, work, ttl_s=LEASE_S)

    async def _publish(self, version: str) -> None:
        ports, cards = self._ports, 0
        async for some in ports.source.cards(self._folder):
            await ports.cards.upsert(some, seen_in=version)
            cards += len(some)
        before = await ports.snapshots.published(CARDS)
        size_bytes = await ports.files.put(CARDS, version, self._folder)
        stats = replace(self._stats, size_bytes=size_bytes)
        made = {
            "source": ports.source.name,
            "form": self._form,
            "cards": cards,
            "faces": stats.items,
        }
        built, at = SnapshotState.BUILT, self._clock()
        await ports.snapshots.add(Snapshot(CARDS, version, built, stats, at, report=made))
        expected = before.sequence if before else 0
        await ports.snapshots.publish(CARDS, version, expected=expected)
