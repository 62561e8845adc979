"""Indexes as administrators see them: looked at, rebuilt by a job, published, rolled back."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from omma.domain.errors import (
    IndexNotFound,
    PublishConflict,
    RebuildRunning,
    SnapshotNotFound,
    SnapshotRefused,
)
from omma.domain.indexes import CARDS, Published, Serving, Snapshot, SnapshotState
from omma.domain.jobs import Job, JobFilter, JobState, Submission
from omma.domain.tokens import Principal
from omma.ports.indexes import Servings, SnapshotFiles, Snapshots
from omma.services.intake import Order, new_id
from omma.services.jobs import JobService

REBUILD = "index_rebuild"  # the operation that rebuilds
ACTIVE = (JobState.PENDING, JobState.PROCESSING)
MOST_ACTIVE = 200


@dataclass(frozen=True, slots=True)
class IndexState:
    """One index, whole."""

    name: str
    published: Published | None
    snapshots: Sequence[Snapshot]  # the newest first
    servings: Sequence[Serving]


@dataclass(frozen=True, slots=True)
class Wish:
    """How an index is to be rebuilt."""

    index: str = CARDS
    force: bool = False
    dry_run: bool = False


class IndexService:
    """Use cases over indexes; whoever calls has made sure of the caller's rights."""

    def __init__(
        self,
        snapshots: Snapshots,
        servings: Servings,
        files: SnapshotFiles,
        jobs: JobService,
        *,
        names: Collection[str] = (CARDS,),
    ) -> None:
        self._snapshots = snapshots
        self._servings = servings
        self._files = files
        self._jobs = jobs
        self._names = tuple(names)

    async def listed(self) -> list[IndexState]:
        """Every index."""
        return [await self.show(name) for name in self._names]

    async def show(self, name: str) -> IndexState:
        """One index, or `IndexNotFound`."""
        self._check(name)
        published = await self._snapshots.published(name)
        snapshots = await self._snapshots.listed(name)
        return IndexState(name, published, snapshots, await self._servings.listed(name))

    async def publish(
        self, name: str, version: str, *, force: bool = False, expected: int | None = None
    ) -> Published:
        """Let a snapshot be served; one that the gate refused only with ``force``.

        ``expected`` is the sequence that the caller saw; without it, the one there is now.
        `SnapshotNotFound`, `SnapshotRefused`, `PublishConflict`.
        """
        state = await self.show(name)
        return await self._publish(state, _named(state, version), force=force, expected=expected)

    async def rollback(self, name: str, *, expected: int | None = None) -> Published:
        """Let the newest snapshot be served that was published and is older than this one."""
        state = await self.show(name)
        if state.published is None:
            raise SnapshotNotFound(f"nothing of {name} is published: nothing to roll back from")
        now = state.published.version
        older = [
            each
            for each in state.snapshots
            if each.state is SnapshotState.RETIRED and each.version < now
        ]
        if not older:
            raise SnapshotNotFound(f"no snapshot of {name} was published before {now}")
        last = max(older, key=lambda each: each.version)
        return await self._publish(state, last, force=False, expected=expected)

    async def rebuild(self, principal: Principal, wish: Wish) -> Job:
        """The job that does it: a new one, or the one that waits or runs already.

        `RebuildRunning` where that one is not forced, and this is to be.
        """
        self._check(wish.index)
        for job in await self._active(principal, wish):
            if job.asked.params.get("force") or not wish.force:
                return job
            raise RebuildRunning(f"job {job.job_id} rebuilds {wish.index} already, unforced")
        params = {"index": wish.index, "force": wish.force, "dry_run": wish.dry_run}
        asked = Submission(new_id(), REBUILD, (), principal.subject, params)
        return await self._jobs.submit(Order(asked, ()))

    async def _active(self, principal: Principal, wish: Wish) -> list[Job]:
        wanted = JobFilter(states=ACTIVE, operation=REBUILD)
        page = await self._jobs.page(principal, wanted, cursor="", limit=MOST_ACTIVE)
        alike = {"index": wish.index, "dry_run": wish.dry_run}
        return [
            job
            for job in page.jobs
            if alike.items() <= dict(job.asked.params).items()
            and not job.asked.params.get("bundle")
        ]

    async def _publish(
        self, state: IndexState, snapshot: Snapshot, *, force: bool, expected: int | None
    ) -> Published:
        sequence = state.published.sequence if state.published else 0
        if expected is not None and expected != sequence:
            raise PublishConflict(f"expected sequence {expected}, it is {sequence} by now")
        if snapshot.state is SnapshotState.REFUSED and not force:
            raise SnapshotRefused(_refusal(snapshot))
        if snapshot.version not in await self._files.stored(state.name):
            raise SnapshotNotFound(f"the files of {snapshot.version} are gone")
        return await self._snapshots.publish(state.name, snapshot.version, expected=sequence)

    def _check(self, name: str) -> None:
        if name not in self._names:
            known = ", ".join(self._names)
            raise IndexNotFound(f"no index named {name[:100]!r}; there is {known}")


def _named(state: IndexState, version: str) -> Snapshot:
    for snapshot in state.snapshots:
        if snapshot.version == version:
            return snapshot
    raise SnapshotNotFound(f"{state.name} has no snapshot {version[:200]!r}")


def _refusal(snapshot: Snapshot) -> str:
    verdict = snapshot.report.get("verdict", snapshot.report)
    reasons: Any = cast("Mapping[str, Any]", verdict).get("reasons", ()) if verdict else ()
    why = "; ".join(map(str, reasons)) or "its report says why"
    return f"the gate refused {snapshot.version}: {why}; with force it is published all the same"
