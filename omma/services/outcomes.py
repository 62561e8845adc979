"""What came of attempts, and whether their jobs are tried again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omma.domain.errors import (
    EmptyImage,
    InvalidInput,
    NotFound,
    OmmaError,
    RebuildRunning,
    SnapshotRefused,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
    UrlTimeout,
    UrlUnreachable,
)
from omma.domain.jobs import Completed, Failed, Failure, Json
from omma.services.attempts import Attempt, Backoff, Part, is_outage

PERMANENT = (  # no retry would help
    InvalidInput,
    TooLarge,
    NotFound,
    UnsupportedMediaType,
    RebuildRunning,  # by somebody else, who does what was asked for
    SnapshotRefused,
)
PASSING = (UrlTimeout, UrlUnreachable)  # though they are of those families
LONGEST_MESSAGE = 2000  # characters that are kept of an error


@dataclass(frozen=True, slots=True)
class Retries:
    """When a job is tried again, and for how long."""

    backoff: Backoff
    patience_s: float  # while nothing but what is outside of it fails

    def outcome_of(self, attempt: Attempt, now_s: float) -> Completed | Failed:
        """What to record of an attempt that has all its parts.

        An image that failed for good fails alone. One that may succeed later has the whole job
        tried again while it has retries; after the last, the job keeps what there is. Outages
        cost no retry, but end with its patience.
        """
        errors = attempt.errors
        if not attempt.size:
            return Failed(attempt.hold, failure_of(EmptyImage("the job names no image")), None)
        if again := self._again(attempt, now_s):
            return again
        if len(errors) == attempt.size:
            return Failed(attempt.hold, failure_of(errors[0]), None)
        return _completed(attempt)

    def _again(self, attempt: Attempt, now_s: float) -> Failed | None:
        job = attempt.claim.job
        passing = [error for error in attempt.errors if may_pass(error)]
        if counted := [error for error in passing if not is_outage(error)]:
            is_over = job.retry_count >= job.asked.max_retries
            failures, cause = job.retry_count + 1, counted[0]
        elif passing:
            begun_s = job.started_at.timestamp() if job.started_at else now_s
            is_over = now_s - begun_s > self.patience_s
            failures, cause = job.attempt, passing[0]
        else:
            return None
        if is_over:
            return None
        least_s = cause.retry_after_s if isinstance(cause, Unavailable) else 0.0
        delay_s = max(self.backoff.delay_s(failures), least_s)
        return Failed(attempt.hold, failure_of(cause), delay_s, counts=bool(counted))


def may_pass(error: OmmaError) -> bool:
    """Whether a retry may help."""
    return not isinstance(error, PERMANENT) or isinstance(error, PASSING)


def failure_of(error: OmmaError) -> Failure:
    """``error`` as the records keep it."""
    return Failure(error.code, str(error)[:LONGEST_MESSAGE].replace("\0", "\\0") or error.code)


def _completed(attempt: Attempt) -> Completed:
    parts = [attempt.parts[index] for index in range(attempt.size)]
    kept = [part for part in parts if isinstance(part, Part)]
    has_files = any(part.has_files for part in kept)
    if len(parts) == 1:
        return Completed(attempt.hold, kept[0].result, kept[0].metrics, has_files)
    failed = len(parts) - len(kept)
    images = [part.result if isinstance(part, Part) else _told(part) for part in parts]
    result = {"images": images, "image_count": len(parts), "failed_count": failed}
    metrics = {"images": len(parts), "failed": failed, **_combined([p.metrics for p in kept])}
    return Completed(attempt.hold, result, metrics, has_files)


def _told(error: OmmaError) -> Json:
    failure = failure_of(error)
    return {"error": {"code": failure.code, "message": failure.message}}


def _combined(all_metrics: Sequence[Json]) -> Mapping[str, Any]:
    """Numbers of a job from those of its images: whole ones are counts and add up."""
    combined: dict[str, Any] = {}
    for name in dict.fromkeys(name for metrics in all_metrics for name in metrics):
        values = [metrics[name] for metrics in all_metrics if name in metrics]
        numbers = [value for value in values if isinstance(value, int | float)]
        if not numbers:
            continue
        total = sum(numbers)
        combined[name] = total if all(isinstance(n, int) for n in numbers) else total / len(numbers)
    return combined
