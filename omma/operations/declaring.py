"""What an operation is: everything else about it follows from this."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from omma.domain.errors import InvalidInput, OmmaError
from omma.domain.faces import Lane
from omma.domain.jobs import EntityKind, Json
from omma.domain.tokens import SUPPORT
from omma.ports.indexes import BundleImporter, IndexRebuilder
from omma.ports.operations import Kept, LoneJob
from omma.services.cards import CardService
from omma.services.faces import FaceService
from omma.services.images import ImageService
from omma.wire.operations import Answer

SUBMIT = "submit_job"  # the handle's method for jobs of any operation
CANCELLED = "cancelled"  # nobody waited for the answer any more

Params = TypeVar("Params", bound=BaseModel)
Outcome = TypeVar("Outcome")


class ActionType(StrEnum):
    """What kind of work an operation is, in the words of the gateway's records."""

    FACE_DETECTION = "face_detection"
    FACE_EMBEDDING = "face_embedding"
    IMAGE_EMBEDDING = "image_embedding"
    CARD_MATCH = "card_match"
    INDEX_REBUILD = "index_rebuild"
    CONTENT_ANALYSIS = "content_analysis"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The services that operations run on; None for those of features that are off."""

    faces: FaceService
    images: ImageService
    cards: CardService | None = None
    rebuild: IndexRebuilder | None = None  # of the cards; None where no source is configured
    bundle: BundleImporter | None = None  # None where none is configured


def _any(_capabilities: Capabilities, _params: Any) -> None:
    """Whatever has the shape of the parameters will do."""


def _always(_capabilities: Capabilities) -> bool:
    """What it runs on is never off."""
    return True


async def _no_images(
    _capabilities: Capabilities, _images: Sequence[bytes], _params: Any, _lane: Lane
) -> list[Any]:
    raise InvalidInput("expected no image: this operation takes none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[Params, Outcome]):
    """One thing the system does with an image; or, with ``run_alone``, without any.

    From it follow its job type, its method on the app handle, its row in the registry, what is
    recorded of each job, its metrics; and, where it has an ``answer``, its route
    ``POST /api/v1/{noun}/{verb}`` and its command ``omma {noun} {verb}``.
    What takes no images is run by jobs alone, one at a time and for as long as it takes.
    """

    name: str
    noun: str  # in the plural: faces, images
    verb: str
    summary: str
    params: type[Params]
    run: Callable[
        [Capabilities, Sequence[bytes], Params, Lane], Awaitable[list[Outcome | OmmaError]]
    ] = _no_images
    run_alone: Callable[[Capabilities, Params, LoneJob], Awaitable[Outcome]] | None = None
    keep: Callable[[Outcome, str], Kept]
    measure: Callable[[Outcome], Json]
    # What its route writes, of the annotated type; None where route and command are by hand.
    answer: Callable[[Outcome, Params], Answer] | None = None
    is_on: Callable[[Capabilities], bool] = _always  # whether what it runs on is configured
    require: Callable[[Capabilities, Params], None] = _any  # raises what no image could change
    own_path: str = ""  # of its route, where noun and verb do not say it
    permission: str = SUPPORT
    entity: EntityKind = EntityKind.IMAGE
    action: ActionType = ActionType.CONTENT_ANALYSIS

    @property
    def takes_images(self) -> bool:
        """Whether it is asked about images."""
        return self.run_alone is None

    @property
    def has_own_route(self) -> bool:
        """Whether its route and its command are written by hand, as a contract documents them."""
        return self.answer is None

    @property
    def path(self) -> str:
        """Where it answers at once, or with its job where it takes no images."""
        return self.own_path or f"/api/v1/{self.noun}/{self.verb}"

    @property
    def handle_method(self) -> str:
        """What it is called on the application's handle; what takes no images has none there."""
        return f"{self.verb}_{self.noun}" if self.takes_images else SUBMIT

    def read(self, params: Json) -> Params:
        """``params`` typed and checked, or `InvalidInput`."""
        try:
            return self.params.model_validate(params, extra="forbid")
        except ValidationError as error:
            raise InvalidInput(_mistakes(error)) from None


@dataclass(frozen=True, slots=True)
class Observation:
    """How one call of an operation went."""

    operation: str
    lane: Lane
    images: int
    errors: tuple[str, ...]  # codes, one for each image that has no answer
    took_s: float


Observe = Callable[[Observation], None]


def unobserved(_observation: Observation) -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True)
class BoundOperation:
    """`JobHandler` over an operation and the services it runs on."""

    operation: Operation[Any, Any]
    capabilities: Capabilities
    observe: Observe = unobserved

    @property
    def takes_images(self) -> bool:
        """See `JobHandler`."""
        return self.operation.takes_images

    def check(self, params: Json) -> Json:
        """See `JobHandler`."""
        typed = self.operation.read(params)
        self.operation.require(self.capabilities, typed)
        return typed.model_dump(mode="json")

    async def run(
        self, images: Sequence[bytes], params: Json, *, lane: Lane
    ) -> list[Any | OmmaError]:
        """See `JobHandler`."""
        return await self.run_typed(images, self.operation.read(params), lane=lane)

    async def run_alone(self, params: Json, job: LoneJob) -> Any:
        """See `JobHandler`."""
        run, typed = self.operation.run_alone, self.operation.read(params)
        if run is None:
            raise InvalidInput(f"expected an image: {self.operation.name} is about images")

        async def work() -> list[Any | OmmaError]:
            return [await run(self.capabilities, typed, job)]

        [outcome] = await self.observed(work, 1, lane=Lane.JOB)
        return outcome

    async def run_typed(
        self, images: Sequence[bytes], params: BaseModel, *, lane: Lane
    ) -> list[Any | OmmaError]:
        """The same for parameters that are checked."""
        run = self.operation.run
        return await self.observed(
            lambda: run(self.capabilities, images, params, lane), len(images), lane=lane
        )

    async def observed(
        self, work: Callable[[], Awaitable[list[Outcome | OmmaError]]], images: int, *, lane: Lane
    ) -> list[Outcome | OmmaError]:
        """What ``work`` answers, counted as this operation's."""
        started = time.perf_counter()
        errors = (OmmaError.code,) * images  # of all, should it raise what nobody foresaw
        try:
            outcomes = await work()
            errors = tuple(each.code for each in outcomes if isinstance(each, OmmaError))
        except OmmaError as error:
            errors = (error.code,) * images
            raise
        except asyncio.CancelledError:
            errors = (CANCELLED,) * images
            raise
        finally:
            took_s = time.perf_counter() - started
            self.observe(Observation(self.operation.name, lane, images, errors, took_s))
        return outcomes

    def keep(self, outcome: Any, folder: str) -> Kept:
        """See `JobHandler`."""
        return self.operation.keep(outcome, folder)

    def measure(self, outcome: Any) -> Json:
        """See `JobHandler`."""
        return self.operation.measure(outcome)


def _mistakes(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
