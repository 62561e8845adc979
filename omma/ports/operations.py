"""What the job runner needs of an operation, whatever it does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from omma.domain.errors import OmmaError
from omma.domain.faces import Lane
from omma.domain.jobs import Json


@dataclass(frozen=True, slots=True)
class Kept:
    """An outcome as a job keeps it."""

    result: Json  # names its files by `jobs/{job_id}/...`, as the documents do
    files: Mapping[str, bytes]  # by path relative to the job's folder


class JobHandler(Protocol):
    """One operation, bound to the services that it runs on."""

    def check(self, params: Json) -> Json:
        """The parameters with their defaults, as JSON; `InvalidInput` when they are none."""
        ...

    async def run(
        self, images: Sequence[bytes], params: Json, *, lane: Lane
    ) -> list[Any | OmmaError]:
        """One outcome, or the reason why not, per encoded image, in the order given."""
        ...

    def keep(self, outcome: Any, folder: str) -> Kept:
        """What a job in ``folder`` (``jobs/{job_id}``) keeps of it. Sync: call it in a thread."""
        ...

    def measure(self, outcome: Any) -> Json:
        """Numbers that describe it: the gateway's `extract_results`."""
        ...
