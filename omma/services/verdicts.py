"""From what both snapshots answered to whether the new one may be served, in sentences."""

from dataclasses import asdict, dataclass

from omma.domain.indexes import Score, Verdict
from omma.domain.jobs import Json

GRANTED_MS = 10.0  # a median may always be longer by as much
EXCHANGED = 0.5  # of the source's pictures: seen as other cards, something is amiss with the source


@dataclass(frozen=True, slots=True)
class GateRules:
    """When a new snapshot is good enough; `omma.settings.GateSettings` says the same."""

    canaries: int = 200
    max_corrections: int = 200
    min_accuracy: float = 0.9
    max_accuracy_drop: float = 0.01
    max_latency_ratio: float = 1.5
    max_loss: float = 0.05


@dataclass(frozen=True, slots=True)
class Judged:
    """What was seen of both."""

    candidate: Score
    running: Score | None
    drawn: int  # canaries drawn from the items; the others are corrections
    drawn_right: int  # of the candidate
    items: int
    running_items: int
    lost: int  # of the running one's items
    is_same_source: bool


def verdict_of(judged: Judged, rules: GateRules, *, notes: tuple[str, ...] = ()) -> Verdict:
    """Accepted where nothing speaks against it; ``notes`` are told either way."""
    against = [
        *_emptiness(judged),
        *_accuracy(judged, rules),
        *_exchange(judged),
        *_drop(judged, rules),
        *_latency(judged, rules),
        *_loss(judged, rules),
    ]
    reasons = tuple(against) or (_praise(judged),)
    return Verdict(not against, (*reasons, *notes), judged.candidate, judged.running)


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
    return [] if judged.drawn else ["there was no canary to ask"]


def _accuracy(judged: Judged, rules: GateRules) -> list[str]:
    """Of drawn canaries: corrections are what went wrong once, and may be hard for ever."""
    if not judged.drawn or judged.drawn_right / judged.drawn >= rules.min_accuracy:
        return []
    reason = (
        f"it knew {judged.drawn_right} of {judged.drawn} canaries,"
        f" expected at least {rules.min_accuracy:.1%}"
    )
    return [reason]


def _exchange(judged: Judged) -> list[str]:
    """Both may agree with poisoned records; a running index that knew its cards does not."""
    running = judged.running
    if running is None or not judged.is_same_source or not judged.drawn:
        return []
    if running.false < EXCHANGED * judged.drawn:
        return []
    reason = (
        f"the running snapshot sees other cards than the source in {running.false} of"
        f" {running.queries} pictures: the source may have exchanged pictures or ids"
    )
    return [reason]


def _drop(judged: Judged, rules: GateRules) -> list[str]:
    running = judged.running
    if running is None or not judged.is_same_source:
        return []
    if judged.candidate.accuracy >= running.accuracy - rules.max_accuracy_drop:
        return []
    reason = (
        f"its accuracy is {judged.candidate.accuracy:.1%}, that of the running snapshot"
        f" {running.accuracy:.1%}, and it may fall by {rules.max_accuracy_drop:.1%}"
    )
    return [reason]


def _latency(judged: Judged, rules: GateRules) -> list[str]:
    running = judged.running
    if running is None:
        return []
    most_ms = rules.max_latency_ratio * running.p50_ms + GRANTED_MS
    if judged.candidate.p50_ms <= most_ms:
        return []
    reason = (
        f"its median query takes {judged.candidate.p50_ms:.0f} ms,"
        f" expected at most {most_ms:.0f} ms beside {running.p50_ms:.0f} ms of the running snapshot"
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
    said = f"it knew {judged.candidate.right} of {judged.candidate.queries} canaries"
    if judged.running:
        said += f", the running snapshot {judged.running.right}"
    return said
