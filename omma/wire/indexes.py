"""Indexes as administrators see them: what is published, what is served, what a rebuild did."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from omma.domain.indexes import CARDS, RebuildReport, Score, SourcePlan, Verdict
from omma.wire.operations import Params

IndexName = Annotated[str, Field(min_length=1, max_length=100)]
Version = Annotated[str, Field(min_length=1, max_length=200)]
State = Literal["built", "published", "retired", "refused"]
SeenSequence = Annotated[
    int | None,
    Field(ge=0, description="The one you saw, 0 for none: 409 where there is another by now."),
]


class RebuildParams(Params):
    """What an `index_rebuild` job is told."""

    index: IndexName = Field(default=CARDS, description="Which index.")
    force: bool = Field(default=False, description="Build anew even where nothing has changed.")
    dry_run: bool = Field(default=False, description="State what would be done, and do nothing.")
    bundle: str = Field(
        default="", max_length=8192, description="Import `indexes.bundle_url`, which this repeats."
    )


class RebuildRequest(BaseModel):
    """How an index is to be rebuilt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    force: bool = Field(default=False, description="Build anew even where nothing has changed.")
    dry_run: bool = Field(default=False, description="State what would be done, and do nothing.")


class PublishRequest(BaseModel):
    """Which snapshot is to be served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Version
    force: bool = Field(default=False, description="Also one that the gate refused.")
    expected_sequence: SeenSequence = None


class RollbackRequest(BaseModel):
    """Nothing needs to be said: the published snapshot before this one is served again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expected_sequence: SeenSequence = None


class PublishedAnswer(BaseModel):
    """What is to be served now."""

    index: str
    version: str
    sequence: int = Field(description="Rises with every publication, a rollback's too.")


class ServedBy(BaseModel):
    """What one replica serves."""

    replica: str
    version: str
    seen_at: datetime


class SnapshotSummary(BaseModel):
    """One complete index."""

    version: str
    state: State
    items: int = Field(description="Pictures that are told apart: a card's faces.")
    vectors: int
    size_bytes: int
    created_at: datetime
    published_at: datetime | None
    replicas: int = Field(description="That serve it now.")


class SnapshotAnswer(SnapshotSummary):
    """The same with how it came about."""

    index: str
    last_change: int = Field(description="Sequence number of the last change that it holds.")
    report: dict[str, Any] = Field(description="How it was made and judged.")
    served_by: list[ServedBy]


class IndexSummary(BaseModel):
    """One index."""

    name: str
    version: str | None = Field(description="That is published; null before the first.")
    sequence: int = Field(description="0 before the first publication.")
    snapshots: int


class IndexAnswer(IndexSummary):
    """One index with all of its snapshots, the newest first."""

    history: list[SnapshotSummary]
    served_by: list[ServedBy]


class IndexesAnswer(BaseModel):
    """All indexes."""

    indexes: list[IndexSummary]


class PlanResult(BaseModel):
    """What a rebuild would do: the result of a dry run."""

    source: str
    cards: int
    faces: int
    new_images: int = Field(description="New or changed: fetched and looked at.")
    download_bytes: int = Field(description="Of records and images; an estimate.")
    hours: float = Field(description="An estimate, on the machines there are.")
    is_exact: bool = Field(description="False where only the source's own totals are known.")

    @classmethod
    def of(cls, plan: SourcePlan) -> Self:
        """A plan as jobs keep it."""
        return cls.model_validate(plan, from_attributes=True)


class ScoreResult(BaseModel):
    """How an index did on the canaries."""

    queries: int
    right: int
    false: int = Field(description="Claimed a card where none or another is.")
    accuracy: float
    p50_ms: float
    p95_ms: float

    @classmethod
    def of(cls, score: Score) -> Self:
        """A score as jobs keep it."""
        return cls.model_validate(score, from_attributes=True)


class VerdictResult(BaseModel):
    """What the gate said of a snapshot."""

    is_accepted: bool
    reasons: list[str]
    candidate: ScoreResult
    running: ScoreResult | None = Field(description="Of the snapshot that was served then.")

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """A verdict as jobs keep it."""
        return cls(
            is_accepted=verdict.is_accepted,
            reasons=list(verdict.reasons),
            candidate=ScoreResult.of(verdict.candidate),
            running=ScoreResult.of(verdict.running) if verdict.running else None,
        )


class UnusedPicture(BaseModel):
    """A picture that could not be used, and why."""

    card_id: str
    face: int
    reason: str


class RebuildResult(BaseModel):
    """What came of a rebuild."""

    version: str | None = Field(description="Null where nothing had changed.")
    is_published: bool
    verdict: VerdictResult | None
    cards: int
    faces: int
    fetched: int = Field(description="Pictures new or changed.")
    removed: int = Field(description="Cards that the source no longer has.")
    failed_count: int
    failed: Sequence[UnusedPicture] = Field(description="At most 100 of them.")
    took_s: float

    @classmethod
    def of(cls, report: RebuildReport) -> Self:
        """A report as jobs keep it."""
        return cls(
            version=report.version or None,
            is_published=report.is_published,
            verdict=VerdictResult.of(report.verdict) if report.verdict else None,
            cards=report.cards,
            faces=report.faces,
            fetched=report.fetched,
            removed=report.removed,
            failed_count=report.failed_count,
            failed=[
                UnusedPicture(card_id=item.card_id, face=item.face, reason=reason)
                for item, reason in report.failed
            ],
            took_s=round(report.took_s, 3),
        )
