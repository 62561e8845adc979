"""``/api/v1/operations``, and the routes of all operations that no contract documents."""

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Annotated, Any, get_type_hints

from fastapi import APIRouter, Depends, Query, Request, Response

from omma.api.access import require
from omma.api.answers import as_json, timings
from omma.api.describe import IMAGE_BODY, problems
from omma.api.options import ContextOf
from omma.api.work import of_one_image, written
from omma.domain.faces import Lane
from omma.operations.declaring import BoundOperation
from omma.operations.registry import row
from omma.wire.operations import Answer, OperationsAnswer

TOO_LARGE, UNSUPPORTED = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE

Endpoint = Callable[..., Coroutine[Any, Any, Response]]


def operation_routes(operations: Mapping[str, BoundOperation]) -> APIRouter:
    """The registry, and ``POST /api/v1/{noun}/{verb}`` for each operation without its own route."""
    router = APIRouter()
    router.add_api_route(
        "/api/v1/operations",
        _registry(operations),
        response_model=OperationsAnswer,
        responses=problems(),
        tags=["operations"],
        dependencies=[Depends(require())],
    )
    for bound in operations.values():
        if bound.operation.answer is not None:
            _add(router, bound)
    return router


def _registry(operations: Mapping[str, BoundOperation]) -> Endpoint:
    async def list_operations() -> Response:
        """List what this server does with images."""
        rows = [row(bound.operation) for bound in operations.values()]
        return as_json(OperationsAnswer(operations=rows))

    return list_operations


def _add(router: APIRouter, bound: BoundOperation) -> None:
    operation = bound.operation
    router.add_api_route(
        operation.path,
        _endpoint(bound),
        methods=["POST"],
        name=operation.handle_method,
        description=operation.summary,
        response_model=get_type_hints(operation.answer)["return"],
        responses=problems(TOO_LARGE, UNSUPPORTED),
        openapi_extra=IMAGE_BODY,
        tags=[operation.noun],
        dependencies=[Depends(require(operation.permission))],
    )


def _endpoint(bound: BoundOperation) -> Endpoint:
    async def endpoint(request: Request, params: Any, context: ContextOf) -> Response:
        bound.operation.require(bound.capabilities, params)

        def work(image: bytes) -> Coroutine[Any, Any, list[Any]]:
            return bound.run_typed([image], params, lane=Lane.INTERACTIVE)

        outcome, total_ms = await of_one_image(request, context, work)
        return await written(lambda: _answer(bound, outcome, params, total_ms), is_large=False)

    endpoint.__annotations__["params"] = Annotated[bound.operation.params, Query()]
    return endpoint


def _answer(bound: BoundOperation, outcome: Any, params: Any, total_ms: float) -> Answer:
    write = bound.operation.answer
    if write is None:
        raise TypeError(f"{bound.operation.name!r} has a route of its own")
    answer = write(outcome, params)
    took_ms = timings({**answer.timings_ms, "total": total_ms})
    return answer.model_copy(update={"timings_ms": took_ms})
