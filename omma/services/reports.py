"""What a rebuild's report leaves behind: in its snapshot's record, and in the log."""

from omma.domain.indexes import CARDS, RebuildReport
from omma.domain.jobs import Json
from omma.services.verdicts import verdict_report


def kept_report(report: RebuildReport) -> Json:
    """What a snapshot's record says of its making."""
    return {
        "cards": report.cards,
        "faces": report.faces,
        "fetched": report.fetched,
        "removed": report.removed,
        "failed": report.failed_count,
        "verdict": report.verdict and verdict_report(report.verdict),
    }


def logged_report(report: RebuildReport) -> Json:
    """What the log says of a rebuild that has ended."""
    return {
        "index": CARDS,
        "snapshot": report.version,
        "is_published": report.is_published,
        "faces": report.faces,
        "fetched": report.fetched,
        "removed": report.removed,
        "failed": report.failed_count,
        "took_s": round(report.took_s, 1),
    }
