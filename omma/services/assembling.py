"""What one assemble task does: fetch shards, build the index of them, put its files."""

import asyncio
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from omma.domain.cards import CardId, ItemId
from omma.domain.indexes import IndexStats
from omma.ports.blobs import FileBlobs
from omma.ports.cards import CardEngines, FeatureReader
from omma.ports.indexes import AssembleTask, SnapshotFiles

AT_ONCE = 4  # shards that are fetched
CONTENTS = "contents.json"  # beside the engine's files: which items there are, for the gate

FeatureOpener = Callable[[Sequence[tuple[Path, Collection[ItemId]]]], FeatureReader]


class Assembling:
    """Builds in a folder of this machine, which it leaves as empty as it found it."""

    def __init__(
        self,
        engines: CardEngines,
        blobs: FileBlobs,
        files: SnapshotFiles,
        open_features: FeatureOpener,
        *,
        work: Path,
    ) -> None:
        self._engines = engines
        self._blobs = blobs
        self._files = files
        self._open_features = open_features
        self._work = work / "assembly"

    async def assemble(self, task: AssembleTask) -> IndexStats:
        """Answers when all files of the snapshot are in the blob store."""
        # One rebuild at a time: what else lies here was left by one that was killed.
        await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)
        folder = self._work / task.version
        try:
            features = self._open_features(await self._fetch(task, folder / "features"))
            return await self._build(task, features, folder / "index")
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _fetch(
        self, task: AssembleTask, folder: Path
    ) -> list[tuple[Path, Collection[ItemId]]]:
        await asyncio.to_thread(folder.mkdir, parents=True)
        free = asyncio.Semaphore(AT_ONCE)

        async def fetch(number: int, shard: str) -> Path:
            file = folder / f"{number:06}.h5"
            async with free:
                await self._blobs.get_file(shard, file)
            return file

        try:
            async with asyncio.TaskGroup() as group:
                fetched = [
                    group.create_task(fetch(number, shard))
                    for number, (shard, _) in enumerate(task.shards)
                ]
        except ExceptionGroup as failed:  # the first that failed has ended the others
            raise failed.exceptions[0] from None
        items = [items for _, items in task.shards]
        return [(each.result(), some) for each, some in zip(fetched, items, strict=True)]

    async def _build(self, task: AssembleTask, features: FeatureReader, index: Path) -> IndexStats:
        def build() -> IndexStats:
            index.mkdir(parents=True)
            stats = self._engines.build(features, index, version=task.version)
            write_contents(index, (item for _, items in task.shards for item in items))
            return stats

        stats = await asyncio.to_thread(build)
        size_bytes = await self._files.put(task.name, task.version, index)
        return replace(stats, size_bytes=size_bytes)


def write_contents(folder: Path, items: Iterable[ItemId]) -> None:
    """Say beside an index which items it holds."""
    rows = [[item.card_id, item.face] for item in sorted(items)]
    (folder / CONTENTS).write_text(json.dumps(rows))


def read_contents(folder: Path) -> list[ItemId]:
    """Items of an index; none where nobody said, as in one that came from elsewhere."""
    try:
        rows = json.loads((folder / CONTENTS).read_text())
    except FileNotFoundError:
        return []
    return [ItemId(CardId(card_id), face) for card_id, face in rows]
