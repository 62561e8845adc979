"""What the job runner needs of an operation, whatever it does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from omma.domain.errors import OmmaError
from omma.domain.faces import Lane
from omma.domain.jobs import JobId, Json, Progress


@dataclass(frozen=True, slots=True)
class Kept:
    """An outcome as a job keeps it."""

    result: Json  # names its files by `jobs/{job_id}/...`, as the documents do
    files: Mapping[str, bytes]  # by path relative to the job's folder


@dataclass(frozen=True, slots=True)
class LoneJob:
    """A job without images, as its handler sees it."""

    job_id: JobId  # the same for all its attempts
    tell: Callable[[Progress], None]  # how far it is; as often as one likes


class JobHandler(Protocol):
    """One operation, bound to the services that it runs on."""

    @property
    def takes_images(self) -> bool:
        """Whether `run` answers its jobs; else `run_alone` does."""
        ...

    def check(self, params: Json) -> Json:
        """The parameters with their defaults, as JSON; `InvalidInput` when they are none."""
        ...

    async def run(
        self, images: Sequence[bytes], params: Json, *, lane: Lane
    ) -> list[Any | OmmaError]:
        """One outcome, or the reason why not, per encoded image, in the order given."""
        ...

    async def run_alone(self, params: Json, job: LoneJob) -> Any:
        """The outcome of one job without images, however long it takes.

        It is cancelled when the job is, and when the process stops: the next attempt goes on.
        """
        ...

    def keep(self, outcome: Any, folder: str) -> Kept:
        """What a job in ``folder`` (``jobs/{job_id}``) keeps of it. Sync: call it in a thread."""
        ...

    def measure(self, outcome: Any) -> Json:
        """Numbers that describe it: the gateway's `extract_results`."""
        ...
