"""Which of the snapshots that are recorded can be used as they are."""

from omma.domain.indexes import CARDS, Snapshot, SnapshotState
from omma.ports.indexes import SnapshotFiles, Snapshots


class Shelf:
    """Snapshots as one form of index reads them."""

    def __init__(self, snapshots: Snapshots, files: SnapshotFiles, index_form: str) -> None:
        self._snapshots = snapshots
        self._files = files
        self._form = index_form

    async def running(self) -> Snapshot | None:
        """The published one."""
        listed = await self._snapshots.listed(CARDS)
        return next((each for each in listed if each.state is SnapshotState.PUBLISHED), None)

    async def is_usable(self, snapshot: Snapshot) -> bool:
        """Whether its files are there, in the form that is read; one that is unknown counts so."""
        stored = await self._files.stored(CARDS)
        form = snapshot.report.get("form", self._form)
        return snapshot.version in stored and form == self._form

    async def is_known(self, contents: str) -> bool:
        """Whether just this is served, or was until somebody rolled back from it."""
        running = await self.running()
        if running is None or not await self.is_usable(running):
            return False
        for snapshot in await self._snapshots.listed(CARDS):  # the newest first
            is_same = snapshot.report.get("contents") == contents
            match snapshot.state:
                case SnapshotState.PUBLISHED:
                    return is_same
                case SnapshotState.RETIRED if is_same:
                    return True
                case _:
                    continue
        return False

    async def unjudged(self, contents: str) -> Snapshot | None:
        """One of this that a killed rebuild had no time to judge."""
        for snapshot in await self._snapshots.listed(CARDS):
            is_same = snapshot.report.get("contents") == contents
            if is_same and snapshot.state is SnapshotState.BUILT:
                return snapshot if await self.is_usable(snapshot) else None
        return None
