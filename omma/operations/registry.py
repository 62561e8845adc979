"""All operations, and what is made of their declarations by a loop each."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from omma.domain.errors import OmmaError, OperationNotFound
from omma.domain.faces import Lane
from omma.operations.cards import CARD_MATCH
from omma.operations.declaring import (
    BoundOperation,
    Capabilities,
    Observe,
    Operation,
    unobserved,
)
from omma.operations.faces import FACE_DETECTION, FACE_EMBEDDING
from omma.operations.images import IMAGE_EMBEDDING
from omma.operations.indexes import INDEX_REBUILD
from omma.wire.operations import OperationRow

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    FACE_DETECTION,
    FACE_EMBEDDING,
    IMAGE_EMBEDDING,
    CARD_MATCH,
    INDEX_REBUILD,
)

Method = Callable[..., Awaitable[Any]]


class HasOperations(Protocol):
    """What the methods of an application's handle are put on."""

    @property
    def operations(self) -> Mapping[str, BoundOperation]:
        """By name."""
        ...


def bind(
    capabilities: Capabilities,
    operations: Iterable[Operation[Any, Any]] = OPERATIONS,
    observe: Observe = unobserved,
) -> Mapping[str, BoundOperation]:
    """Each operation over the services it runs on, by name: handlers of jobs and routes.

    Those of features that are off are left out.
    """
    return {
        each.name: BoundOperation(each, capabilities, observe)
        for each in operations
        if each.is_on(capabilities)
    }


def handle_methods(
    operations: Iterable[Operation[Any, Any]] = OPERATIONS,
) -> Mapping[str, Method]:
    """A method for each operation on images, by name, of a class that `HasOperations`."""
    return {each.handle_method: _method(each) for each in operations if each.takes_images}


def row(operation: Operation[Any, Any]) -> OperationRow:
    """``operation`` as the registry lists it."""
    return OperationRow(
        name=operation.name,
        summary=operation.summary,
        noun=operation.noun,
        verb=operation.verb,
        permission=operation.permission,
        entity=operation.entity,
        action=operation.action,
        route=f"POST {operation.path}",
        job_type=operation.name,
        handle_method=operation.handle_method,
        command=f"omma {operation.noun} {operation.verb}",
        params=operation.params.model_json_schema(),
    )


def _method(operation: Operation[Any, Any]) -> Method:
    async def method(self: HasOperations, image: bytes, **params: Any) -> Any:
        bound = self.operations.get(operation.name)
        if bound is None:
            raise OperationNotFound(f"{operation.name!r} is not configured here")
        [outcome] = await bound.run([image], params, lane=Lane.INTERACTIVE)
        if isinstance(outcome, OmmaError):
            raise outcome
        return outcome

    method.__name__ = operation.handle_method
    method.__qualname__ = operation.handle_method
    method.__doc__ = f"{operation.summary} ``params`` are those of the operation."
    return method
