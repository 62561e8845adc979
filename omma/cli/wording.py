"""What rebuilds would do and did, in words for people."""

from collections.abc import Sequence

from omma.wire.indexes import PlanResult, RebuildResult, VerdictResult

KB = 1000
SHOWN = 5  # images that could not be used; `--json` has more of them


def plan_in_words(plan: PlanResult) -> str:
    """What a rebuild would do and cost."""
    about = "" if plan.is_exact else "about "
    return (
        f"{plan.source} has {about}{_count(plan.cards, 'card')} with"
        f" {_count(plan.faces, 'face')}.\n"
        f"A rebuild would download {about}{size_in_words(plan.download_bytes)}:"
        f" {_count(plan.new_images, 'new or changed image')}.\n"
        f"It would take about {time_in_words(plan.hours)}."
    )


def result_in_words(result: RebuildResult) -> str:
    """What a rebuild did."""
    if result.version is None:
        return f"nothing has changed: {_count(result.cards, 'card')} as before"
    done = "published" if result.is_published else "built and did not publish"
    counts = (
        _count(result.cards, "card"),
        _count(result.faces, "face"),
        f"{_count(result.fetched, 'image')} fetched",
        f"{_count(result.removed, 'card')} removed",
    )
    took = time_in_words(result.took_s / 3600)
    lines = [
        f"{done} {result.version} in {took}: {', '.join(counts)}",
        *_verdict_in_words(result.verdict),
    ]
    if result.failed_count:
        lines.append(f"{_count(result.failed_count, 'image')} could not be used:")
        lines += [f"  {each.card_id}/{each.face}: {each.reason}" for each in result.failed[:SHOWN]]
    return "\n".join(lines)


def _verdict_in_words(verdict: VerdictResult | None) -> Sequence[str]:
    if verdict is None:
        return ()
    score = verdict.candidate
    found = f"{score.right} of {score.queries} canaries found, median {score.p50_ms:.0f} ms"
    return (found, *(f"  {reason}" for reason in verdict.reasons))


def size_in_words(size_bytes: float) -> str:
    """Bytes in the largest unit that leaves a whole number before the point."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_bytes < KB:
            return f"{size_bytes:.0f} {unit}" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= KB
    return f"{size_bytes:.1f} TB"


def time_in_words(hours: float) -> str:
    """Hours, or minutes, or seconds."""
    if hours >= 1:
        return f"{hours:.1f} hours"
    if hours * 60 >= 1:
        return f"{hours * 60:.0f} minutes"
    return f"{hours * 3600:.0f} seconds"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
