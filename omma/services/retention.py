"""What may go after a rebuild or an import: old snapshots, and files that no record names."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from omma.domain.indexes import CARDS, Snapshot, SnapshotState
from omma.ports.blobs import BlobStore
from omma.ports.cards import Corrections, FeatureLedger
from omma.ports.indexes import Servings, SnapshotFiles, Snapshots
from omma.services.versions import version_of

log = logging.getLogger(__name__)

FEATURES = f"features/{CARDS}"  # folder of the shards in the blob store
MOST_CORRECTIONS = 5000  # that are kept, the newest
CHUNK = 500  # corrections that are removed at once
UNPUBLISHED = 2  # snapshots, refused or left unjudged, that are kept for a look
GRACE = timedelta(hours=6)  # of files that no record names: an import may be about to name them


@dataclass(frozen=True, slots=True)
class Kept:
    """Where snapshots and shards are recorded, and where they lie."""

    snapshots: Snapshots
    servings: Servings
    files: SnapshotFiles
    ledger: FeatureLedger
    blobs: BlobStore
    corrections: Corrections


class Retention:
    """Removes in such an order that a kill leaves nothing but files for the next time."""

    def __init__(
        self,
        kept: Kept,
        *,
        keep: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        grace: timedelta = GRACE,
    ) -> None:
        self._kept = kept
        self._keep = keep
        self._clock = clock
        self._grace = grace

    async def run(self, name: str) -> int:
        """How many snapshots, shards, remains of either and corrections were removed."""
        done = await self._remove_old(name)
        done += await self._remove_unrecorded(name)
        done += await self._remove_shards()
        return done + await self._remove_corrections()

    async def _remove_old(self, name: str) -> int:
        """What was never published makes no room by pushing out what can be rolled back to."""
        served = {each.version for each in await self._kept.servings.listed(name)}
        listed = await self._kept.snapshots.listed(name)
        retired = [each for each in listed if each.state is SnapshotState.RETIRED]
        others = [
            each
            for each in listed
            if each.state not in {SnapshotState.RETIRED, SnapshotState.PUBLISHED}
        ]
        old = retired[self._keep :] + others[UNPUBLISHED:]
        return sum([await self._remove(each) for each in old if each.version not in served])

    async def _remove(self, snapshot: Snapshot) -> bool:
        """The row first: files without one are removed by the next run."""
        if not await self._kept.snapshots.remove(snapshot.name, snapshot.version):
            return False  # it was published, or taken up by a replica, just now
        await self._kept.files.delete(snapshot.name, snapshot.version)
        log.info("removed a snapshot", extra={"index": snapshot.name, "version": snapshot.version})
        return True

    async def _remove_unrecorded(self, name: str) -> int:
        stored = await self._kept.files.stored(name)  # before the rows: a new one has its row then
        listed = {each.version for each in await self._kept.snapshots.listed(name)}
        latest = version_of(self._clock() - self._grace)
        remains = [each for each in stored if each not in listed and each < latest]
        for version in remains:
            await self._kept.files.delete(name, version)
            log.info("removed what a rebuild left", extra={"index": name, "version": version})
        return len(remains)

    async def _remove_shards(self) -> int:
        latest = self._clock() - self._grace
        found = [
            each.path
            async for chunk in self._kept.blobs.list(FEATURES)
            for each in chunk
            if each.modified_at is not None and each.modified_at < latest
        ]
        kept = await self._kept.ledger.kept()
        remains = [path for path in found if path not in kept]
        await self._kept.blobs.delete(remains)
        if remains:
            log.info("removed shards that nothing needs", extra={"shards": len(remains)})
        return len(remains)

    async def _remove_corrections(self) -> int:
        """Those that no gate asks any more; images first: a row without one is passed over."""
        done = 0
        while old := await self._kept.corrections.recent(limit=CHUNK, skip=MOST_CORRECTIONS):
            await self._kept.blobs.delete([each.image for each in old])
            await self._kept.corrections.remove([each.correction_id for each in old])
            done += len(old)
        if done:
            log.info("removed old corrections", extra={"corrections": done})
        return done
