"""Claimed jobs while a runner works on them: which images go together, and how far they are."""

import json
import random
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from omma.domain.errors import OmmaError, ReplicaLost, Unavailable
from omma.domain.jobs import Claim, Hold, ImageRef, Json, Progress, result_folder


@dataclass(frozen=True, slots=True)
class Part:
    """What a job keeps of one of its images."""

    result: Json
    metrics: Json
    has_files: bool


@dataclass(slots=True, eq=False)
class Attempt:
    """One claimed job, image by image."""

    claim: Claim
    is_lone: bool = False  # its operation takes no images
    parts: dict[int, Part | OmmaError] = field(default_factory=dict[int, Part | OmmaError])
    is_void: bool = False  # cancelled, deleted or another's: nothing more is to be done

    @property
    def hold(self) -> Hold:
        """The right to it."""
        return self.claim.hold

    @property
    def images(self) -> Sequence[ImageRef]:
        """What it is about."""
        return self.claim.job.asked.images

    @property
    def size(self) -> int:
        """How many parts it is to have: one an image, and one where its operation takes none."""
        return 1 if self.is_lone else len(self.images)

    @property
    def is_done(self) -> bool:
        """Whether it has all its parts."""
        return len(self.parts) == self.size

    @property
    def is_unanswered(self) -> bool:
        """Whether it has an error that says: not now."""
        return any(isinstance(error, Unavailable) for error in self.errors)

    @property
    def is_served(self) -> bool:
        """Whether nothing outside was away, and something came of it."""
        is_kept = any(isinstance(part, Part) for part in self.parts.values())
        return is_kept and not self.has_outage

    @property
    def has_outage(self) -> bool:
        """Whether something outside was away."""
        return any(map(is_outage, self.errors))

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(len(self.parts), self.size)

    @property
    def errors(self) -> list[OmmaError]:
        """What went wrong, in the order of the images."""
        parts = [self.parts[index] for index in sorted(self.parts)]
        return [part for part in parts if isinstance(part, OmmaError)]

    @property
    def pieces(self) -> list["Piece"]:
        """Its images, each by itself."""
        return [Piece(self, index) for index in range(len(self.images))]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One image of an attempt, or the whole of one that takes none."""

    attempt: Attempt
    index: int

    @property
    def image(self) -> ImageRef:
        """Where it lies."""
        return self.attempt.images[self.index]

    @property
    def subfolder(self) -> str:
        """Where its files lie below the job's folder; "" where it is the job's only image."""
        return f"{self.index}/" if len(self.attempt.images) > 1 else ""

    @property
    def folder(self) -> str:
        """The same, as results name it."""
        return f"{result_folder(self.attempt.hold.job_id)}/{self.subfolder}".rstrip("/")


def calls_of(attempts: Iterable[Attempt], chunk: int) -> list[list[Piece]]:
    """Pieces that one call of a handler may answer together, at most ``chunk`` in each."""
    groups: dict[Hashable, list[Piece]] = {}
    for attempt in attempts:
        groups.setdefault(_companions(attempt), []).extend(attempt.pieces)
    return [
        pieces[start : start + chunk]
        for pieces in groups.values()
        for start in range(0, len(pieces), chunk)
    ]


def _companions(attempt: Attempt) -> Hashable:
    asked = attempt.claim.job.asked
    # One that has failed before may be what fails its companions: it goes alone.
    alone = attempt.hold.job_id if attempt.claim.job.retry_count else ""
    return asked.operation, json.dumps(asked.params, sort_keys=True, default=str), alone


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after failures: twice as long after each, anywhere up to that."""

    first_s: float
    most_s: float

    def delay_s(self, failures: int) -> float:
        """Before the next try, after ``failures`` in a row; full jitter, never nothing."""
        longest = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return random.uniform(longest / 100, longest)  # noqa: S311  not a secret


def is_outage(error: OmmaError) -> bool:
    """Whether something outside is away: no fault of the job, unlike a replica it may have cost."""
    return isinstance(error, Unavailable) and not isinstance(error, ReplicaLost)
