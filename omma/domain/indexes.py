"""Indexes: snapshots of them, and what becomes of a rebuild."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from omma.domain.cards import ItemId
from omma.domain.jobs import Json

CARDS = "cards"  # the index of cards, by name


class SnapshotState(StrEnum):
    """Where a snapshot stands."""

    BUILT = "built"  # complete, not yet judged
    PUBLISHED = "published"  # the one that is to be served
    RETIRED = "retired"  # was published before
    REFUSED = "refused"  # by the gate; kept for a look, never served unless somebody insists


@dataclass(frozen=True, slots=True)
class IndexStats:
    """How large an index is."""

    items: int
    vectors: int
    size_bytes: int  # of all its files


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete, immutable index: the files under ``indexes/NAME/VERSION/``."""

    name: str
    version: str  # sorts by age: the UTC time of its making and a random tail
    state: SnapshotState
    stats: IndexStats
    created_at: datetime
    last_change: int = 0  # sequence number of the last change that it holds
    published_at: datetime | None = None
    report: Json = field(default_factory=dict[str, object])  # how it was made and judged


@dataclass(frozen=True, slots=True)
class Published:
    """What is to be served now."""

    version: str
    sequence: int  # rises with every publication, a rollback's too


@dataclass(frozen=True, slots=True)
class Serving:
    """What one replica serves."""

    name: str
    replica: str
    version: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What a rebuild would do, stated before it does anything."""

    source: str
    cards: int
    faces: int
    new_images: int  # new or changed, to be fetched and looked at
    download_bytes: int  # of records and images together; an estimate
    hours: float  # an estimate, on the machines there are
    is_exact: bool  # False where only the source's own totals are known


class Stage(StrEnum):
    """How far a rebuild is."""

    WAITING = "waiting"
    RECORDS = "records"  # reading what cards there are
    FEATURES = "features"  # fetching and looking at new pictures
    ASSEMBLY = "assembly"  # training and filling the index
    JUDGEMENT = "judgement"  # the canaries
    PUBLICATION = "publication"


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """Where a rebuild is; counts are of its stage."""

    stage: Stage
    done: int = 0
    total: int = 0
    failed: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """How an index did on the canaries."""

    queries: int
    right: int  # the same card; any printing of its art where only symbol and line could tell
    false: int  # claimed a card where none or another is
    p50_ms: float
    p95_ms: float

    @property
    def accuracy(self) -> float:
        """From 0 to 1; 1 for no queries."""
        return self.right / self.queries if self.queries else 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a new snapshot may be served, and why."""

    is_accepted: bool
    reasons: tuple[str, ...]  # why not, or what spoke for it; sentences for the operator
    candidate: Score
    running: Score | None  # of the snapshot that is served now


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What came of a rebuild."""

    version: str  # empty when nothing had changed
    verdict: Verdict | None
    is_published: bool
    cards: int
    faces: int
    fetched: int  # pictures new or changed
    removed: int  # cards that the source no longer has
    failed: tuple[tuple[ItemId, str], ...] = ()  # at most 100 pictures that could not be used
    failed_count: int = 0
    took_s: float = 0.0
