"""From what both snapshots answered to whether the new one may be served, in sentences."""

from dataclasses import asdict, dataclass

from omma.domain.indexes import Score, Verdict
from omma.domain.jobs import Json

GRANTED_MS = 10.0  # a median may always be longer by as much
EXCHANGED = 0.5  # of the source's pictures: seen as other cards, something is amiss with the source
# Anybody's word: corrections may be wrong, or hard for ever, so that few of them decide nothing.
GRANTED_CORRECTIONS, CORRECTIONS_DROP = 3, 0.2
GRANTED_NEW = 2  # pictures of new cards that may always be missed: some nights bring no more


@dataclass(frozen=True, slots=True)
class GateRules:
    """When a new snapshot is good enough; `omma.settings.GateSettings` says the same."""

    canaries: int = 200
    max_corrections: int = 200
    min_accuracy: float = 0.9
    max_accuracy_drop: float = 0.01
    max_latency_ratio: float = 1.5
    max_loss: float = 0.05


@dataclass(slots=True)
class Marks:
    """What one index answered to the canaries of one kind."""

    asked: int = 0
    right: int = 0
    false: int = 0  # claimed a card where none or another is

    @property
    def accuracy(self) -> float:
        """From 0 to 1; 1 where nothing was asked."""
        return self.right / self.asked if self.asked else 1.0


@dataclass(frozen=True, slots=True)
class Marked:
    """What one index answered to all of them."""

    score: Score
    known: Marks  # drawn from the items of the running snapshot, or of the only one
    new: Marks  # drawn from what the candidate alone has; the running one is not asked
    corrected: Marks  # what people said


@dataclass(frozen=True, slots=True)
class Judged:
    """What was seen of both."""

    candidate: Marked
    running: Marked | None
    items: int
    running_items: int
    lost: int  # of the running one's items
    is_same_source: bool

    @property
    def before(self) -> Marked | None:
        """The running one, where it is fair to compare: made of the same source."""
        return self.running if self.is_same_source else None


def verdict_of(judged: Judged, rules: GateRules, *, notes: tuple[str, ...] = ()) -> Verdict:
    """Accepted where nothing speaks against it; ``notes`` are told either way."""
    against = [
        *_emptiness(judged),
        *_accuracy(judged, rules),
        *_news(judged, rules),
        *_exchange(judged),
        *_drop(judged, rules),
        *_corrections(judged),
        *_latency(judged, rules),
        *_loss(judged, rules),
    ]
    reasons = tuple(against) or (_praise(judged),)
    running = judged.running and judged.running.score
    return Verdict(not against, (*reasons, *notes), judged.candidate.score, running)


def verdict_report(verdict: Verdict) -> Json:
    """The same as a snapshot's report keeps it."""
    return {
        "is_accepted": verdict.is_accepted,
        "reasons": list(verdict.reasons),
        "candidate": _score_report(verdict.candidate),
        "running": verdict.running and _score_report(verdict.running),
    }


def _score_report(score: Score) -> Json:
    return asdict(score) | {"accuracy": score.accuracy}


def _emptiness(judged: Judged) -> list[str]:
    if not judged.items:
        return ["the new snapshot holds no items"]
    asked = judged.candidate.known.asked + judged.candidate.new.asked
    return [] if asked else ["there was no canary to ask"]


def _accuracy(judged: Judged, rules: GateRules) -> list[str]:
    """Of drawn canaries: corrections are what went wrong once, and may be hard for ever."""
    known, new = judged.candidate.known, judged.candidate.new
    drawn = Marks(known.asked + new.asked, known.right + new.right)
    if drawn.accuracy >= rules.min_accuracy:
        return []
    reason = (
        f"it knew {drawn.right} of {drawn.asked} canaries,"
        f" expected at least {rules.min_accuracy:.1%}"
    )
    return [reason]


def _news(judged: Judged, rules: GateRules) -> list[str]:
    """What is new is a small part of all, and could be wrong throughout without this."""
    new = judged.candidate.new
    if new.right + GRANTED_NEW >= rules.min_accuracy * new.asked:
        return []
    reason = (
        f"it knew {new.right} of {new.asked} canaries that are new in it,"
        f" expected at least {rules.min_accuracy:.1%} less {GRANTED_NEW}"
    )
    return [reason]


def _exchange(judged: Judged) -> list[str]:
    """Both may agree with poisoned records; a running index that knew its cards does not."""
    known = judged.before.known if judged.before else Marks()
    if not known.asked or known.false < EXCHANGED * known.asked:
        return []
    reason = (
        f"the running snapshot sees other cards than the source in {known.false} of"
        f" {known.asked} pictures: the source may have exchanged pictures or ids"
    )
    return [reason]


def _drop(judged: Judged, rules: GateRules) -> list[str]:
    """Of what both were asked, corrections left out."""
    if judged.before is None:
        return []
    ours, theirs = judged.candidate.known.accuracy, judged.before.known.accuracy
    if ours >= theirs - rules.max_accuracy_drop:
        return []
    reason = (
        f"its accuracy is {ours:.1%}, that of the running snapshot {theirs:.1%},"
        f" and it may fall by {rules.max_accuracy_drop:.1%}"
    )
    return [reason]


def _corrections(judged: Judged) -> list[str]:
    if judged.before is None:
        return []
    ours, theirs = judged.candidate.corrected, judged.before.corrected
    most = max(GRANTED_CORRECTIONS, CORRECTIONS_DROP * theirs.asked)
    if theirs.right - ours.right <= most:
        return []
    reason = (
        f"it answers {ours.right} of {ours.asked} corrections rightly, the running snapshot"
        f" {theirs.right}, and it may fall by {most:.0f}"
    )
    return [reason]


def _latency(judged: Judged, rules: GateRules) -> list[str]:
    if judged.before is None:
        return []
    ours_ms, theirs_ms = judged.candidate.score.p50_ms, judged.before.score.p50_ms
    most_ms = rules.max_latency_ratio * theirs_ms + GRANTED_MS
    if ours_ms <= most_ms:
        return []
    reason = (
        f"its median query takes {ours_ms:.0f} ms,"
        f" expected at most {most_ms:.0f} ms beside {theirs_ms:.0f} ms of the running snapshot"
    )
    return [reason]


def _loss(judged: Judged, rules: GateRules) -> list[str]:
    if not judged.is_same_source or judged.lost <= rules.max_loss * judged.running_items:
        return []
    reason = (
        f"it lacks {judged.lost} of the {judged.running_items} items of the running snapshot,"
        f" expected at most {rules.max_loss:.1%}"
    )
    return [reason]


def _praise(judged: Judged) -> str:
    score = judged.candidate.score
    said = f"it knew {score.right} of {score.queries} canaries"
    if judged.running:
        score = judged.running.score
        said += f", the running snapshot {score.right} of {score.queries}"
    return said
