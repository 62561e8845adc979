"""What the index services need: records of snapshots, their files, hands to do the work."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from omma.domain.cards import CardFace, ItemId
from omma.domain.indexes import (
    IndexStats,
    Published,
    RebuildProgress,
    RebuildReport,
    Serving,
    Snapshot,
    SnapshotState,
    SourcePlan,
    Verdict,
)
from omma.domain.jobs import Json
from omma.ports.cards import Extracted, Unextracted


class Snapshots(Protocol):
    """The records of snapshots. Every method may raise `StoreUnavailable`."""

    async def add(self, snapshot: Snapshot) -> None:
        """Record a snapshot whose files are complete; the same again changes nothing."""
        ...

    async def judge(self, name: str, version: str, state: SnapshotState, report: Json) -> None:
        """Record what the gate said; never changes which one is published."""
        ...

    async def publish(self, name: str, version: str, *, expected: int | None = None) -> Published:
        """Let it be served: one transaction retires the one before and raises the sequence.

        `SnapshotNotFound`; `PublishConflict` where ``expected``, the sequence that the caller
        saw (0 for nothing published), is no longer the one there is. Of one that is published
        already nothing changes.
        """
        ...

    async def published(self, name: str) -> Published | None:
        """What is to be served now: one row, read by every replica every second."""
        ...

    async def listed(self, name: str) -> list[Snapshot]:
        """All snapshots of the index, the newest first."""
        ...

    async def remove(self, name: str, version: str) -> bool:
        """Forget it unless it is published or was reported as served; whether it was forgotten."""
        ...


class Servings(Protocol):
    """Who serves what. Every method may raise `StoreUnavailable`."""

    async def report(self, name: str, replica: str, version: str, *, ttl_s: float) -> None:
        """This replica serves that; to be repeated before ``ttl_s`` is over."""
        ...

    async def leave(self, name: str, replica: str) -> None:
        """This replica serves it no more."""
        ...

    async def listed(self, name: str) -> list[Serving]:
        """Reports that have not expired."""
        ...


class SnapshotFiles(Protocol):
    """The files of snapshots, ``indexes/NAME/VERSION/`` of the blob store.

    Every method may raise `StoreUnavailable`.
    """

    async def put(self, name: str, version: str, folder: Path) -> int:
        """Keep every file of ``folder``, streamed; ``manifest.json`` (names, sizes, sha256) last.

        Answers the bytes of all. Repeating it after an abrupt end completes it.
        """
        ...

    async def fetch(self, name: str, version: str) -> Path:
        """A local folder with all of its files, checked against the manifest; read only.

        `SnapshotNotFound` without a manifest, `IndexCorrupt` for files other than it says.
        """
        ...

    async def delete(self, name: str, version: str) -> None:
        """Remove its files, the manifest first."""
        ...

    async def evict(self, name: str, keep: Sequence[str]) -> None:
        """Remove local copies but for these versions."""
        ...

    async def stored(self, name: str) -> list[str]:
        """Versions that have any file, complete or not."""
        ...


@dataclass(frozen=True, slots=True)
class ExtractTask:
    """Faces for one shard."""

    shard: str  # path in the blob store that the features are put to
    faces: tuple[Unextracted, ...]
    given: tuple[CardFace, ...] = ()  # that the source gave before: it is away if it does not now


@dataclass(frozen=True, slots=True)
class AssembleTask:
    """A snapshot to be made of these features."""

    name: str
    version: str
    shards: tuple[tuple[str, tuple[ItemId, ...]], ...]  # paths, and which of their items count


@dataclass(frozen=True, slots=True)
class JudgeTask:
    """A snapshot to be compared with the one that runs."""

    name: str
    candidate: str
    running: str  # empty where none is published
    seed: int  # which canaries are drawn, and how they are distorted


class Farm(Protocol):
    """Hands for heavy work, near or far: Ray tasks across the cluster, or threads.

    A method ends when its caller is cancelled, and so does its work.
    """

    def extract(self, tasks: AsyncIterator[ExtractTask]) -> AsyncGenerator[Sequence[Extracted]]:
        """Look at the faces of each task, several tasks at once; as each of them ends.

        Takes a further task only when there are hands for it.
        """
        ...

    async def assemble(self, task: AssembleTask) -> IndexStats:
        """Build the index and put its files; answers when the manifest is there."""
        ...

    async def judge(self, task: JudgeTask) -> Verdict:
        """Ask both snapshots the canaries."""
        ...


class RebuildWatcher(Protocol):
    """Whom a rebuild tells how far it is."""

    async def __call__(self, progress: RebuildProgress) -> None:
        """Called often; answers quickly."""
        ...


class IndexRebuilder(Protocol):
    """Rebuilds one index; `services.indexes.IndexRebuild` is one."""

    async def plan(self) -> SourcePlan:
        """What a rebuild would do now; `SourceUnavailable`."""
        ...

    async def run(
        self, watcher: RebuildWatcher, *, holder: str, force: bool = False
    ) -> RebuildReport:
        """Do it, or go on with what an earlier run of ``holder`` began.

        `RebuildRunning` while another holder does, `SourceUnavailable`. With ``force`` even where
        nothing has changed.
        """
        ...


class BundleImporter(Protocol):
    """Makes an index of the bundle that is configured; `services.importing.BundleImport` is one."""

    @property
    def where(self) -> str:
        """The bundle: a URL or a path."""
        ...

    async def run(self, watcher: RebuildWatcher, *, holder: str) -> RebuildReport:
        """Import and publish it; `RebuildRunning`, `SourceUnavailable`, `SourceCorrupt`."""
        ...
