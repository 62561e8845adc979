"""Indexes in their wire form."""

from collections.abc import Sequence

from omma.domain.indexes import Serving, Snapshot
from omma.services.publishing import IndexState
from omma.wire.indexes import (
    IndexAnswer,
    IndexSummary,
    ServedBy,
    SnapshotAnswer,
    SnapshotSummary,
)


def index_summary(state: IndexState) -> IndexSummary:
    """What is published of an index."""
    published = state.published
    return IndexSummary(
        name=state.name,
        version=published.version if published else None,
        sequence=published.sequence if published else 0,
        snapshots=len(state.snapshots),
    )


def index_answer(state: IndexState) -> IndexAnswer:
    """The same with its snapshots."""
    return IndexAnswer(
        **index_summary(state).model_dump(),
        history=[_summary(each, state.servings) for each in state.snapshots],
        served_by=_served_by(state.servings),
    )


def snapshot_answer(snapshot: Snapshot, servings: Sequence[Serving]) -> SnapshotAnswer:
    """One snapshot with its report."""
    mine = [each for each in servings if each.version == snapshot.version]
    return SnapshotAnswer(
        **_summary(snapshot, mine).model_dump(),
        index=snapshot.name,
        last_change=snapshot.last_change,
        report=dict(snapshot.report),
        served_by=_served_by(mine),
    )


def _summary(snapshot: Snapshot, servings: Sequence[Serving]) -> SnapshotSummary:
    return SnapshotSummary(
        version=snapshot.version,
        state=snapshot.state.value,
        items=snapshot.stats.items,
        vectors=snapshot.stats.vectors,
        size_bytes=snapshot.stats.size_bytes,
        created_at=snapshot.created_at,
        published_at=snapshot.published_at,
        replicas=sum(each.version == snapshot.version for each in servings),
    )


def _served_by(servings: Sequence[Serving]) -> list[ServedBy]:
    return [
        ServedBy(replica=each.replica, version=each.version, seen_at=each.seen_at)
        for each in servings
    ]
