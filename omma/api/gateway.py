"""What the gateway's routes share: their errors, and requests as orders."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from omma.api.admission import Ticket
from omma.api.base64_images import decode
from omma.api.describe import problems
from omma.api.errors import headers_of, problem_of, unexpected_problem
from omma.api.images import LARGE_JSON_BYTES
from omma.api.job_answers import written
from omma.api.options import Services
from omma.api.orders import entity_of, moment
from omma.domain.errors import InvalidInput, OmmaError, PermissionMissing
from omma.domain.jobs import Entity, EntityKind, ImageRef, Submission
from omma.domain.tokens import Principal
from omma.services.intake import Order, Picture, new_id
from omma.wire.gateway import FIRST, LAST, GatewayError, ImageAt, ImagePayload, QueueRequest
from omma.wire.problems import Problem

# What the documented types run, until an operation of their own is declared.
OPERATIONS: Mapping[str, str] = dict.fromkeys(("image", "gallery", "scene"), "face_embedding")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GatewayRoute(APIRoute):
    """Answers errors in the gateway's words, with their true status."""

    def get_route_handler(self) -> Handler:
        """The route's own handler, its errors caught."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
                return refusal(InvalidInput("; ".join(faults)))
            except OmmaError as error:
                return refusal(error)

        return answer

    @staticmethod
    def unexpected() -> Response:
        """Answer for a fault that nobody foresaw: `LastResort` asks for it."""
        return _told(unexpected_problem())


def refusal(error: OmmaError) -> Response:
    """The documented body of an error."""
    response = _told(problem_of(error))
    response.headers.update(headers_of(error))
    return response


def _told(problem: Problem) -> Response:
    answer = GatewayError(
        error=str(problem.detail),
        code=str(problem.status),
        timestamp=datetime.now(UTC),
        error_code=problem.code,
    )
    return written(answer, problem.status)


def gateway_problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The answers of a gateway's route that are not successes."""
    described = problems(*statuses)
    return {
        status: {key: value for key, value in spec.items() if key != "content"}
        | {"model": GatewayError}
        for status, spec in described.items()
    }


def operation_of(kind: str, services: Services, principal: Principal) -> str:
    """The operation that a type of the queue means, or why there is none for this client."""
    operation = OPERATIONS.get(kind, kind)
    if bound := services.operations.get(operation):
        if principal.may(bound.operation.permission):
            return operation
        raise PermissionMissing(f"Missing required permission: {bound.operation.permission}")
    names = ", ".join((*OPERATIONS, *services.operations))
    raise InvalidInput(f"expected a type among {names}")


async def read_order(
    wanted: QueueRequest, kind: str, operation: str, owner: str, max_bytes: int
) -> Order:
    """A request as an order; large pictures are decoded in a thread."""
    if _text_size(wanted) > LARGE_JSON_BYTES:
        return await asyncio.to_thread(_order, wanted, kind, operation, owner, max_bytes)
    return _order(wanted, kind, operation, owner, max_bytes)


def _text_size(wanted: QueueRequest) -> int:
    size = 0
    for image in (wanted.image_data, *wanted.images):
        match image:
            case ImagePayload(data=text) | str(text):
                size += len(text)
            case _:
                pass
    return size


def _order(wanted: QueueRequest, kind: str, operation: str, owner: str, max_bytes: int) -> Order:
    asked = Submission(
        job_id=new_id(),
        operation=operation,
        images=(),
        owner=owner,
        params=wanted.params,
        priority=FIRST + LAST - wanted.priority,
        entity=_entity(wanted, kind),
        media_store_id=wanted.media_store_id or "",
        idempotency_key=wanted.idempotency_key or "",
        not_before=moment(wanted.scheduled_at),
        callback_url=wanted.callback_url or "",
    )
    return Order(asked, _pictures(wanted, max_bytes))


def _entity(wanted: QueueRequest, kind: str) -> Entity:
    if kind not in OPERATIONS:
        return entity_of(wanted.entity)
    entity = entity_of(wanted.entity) if wanted.entity else Entity(EntityKind(kind))
    return replace(entity, asked_as=kind)


def _pictures(wanted: QueueRequest, max_bytes: int) -> Sequence[Picture]:
    named = ImageAt(url=wanted.url) if wanted.url else wanted.media_store_id
    first = wanted.image_data or (named if isinstance(named, ImageAt) else None)
    many = ((f"images.{number}", each) for number, each in enumerate(wanted.images))
    pictures = [
        _picture(each, name, max_bytes) for name, each in (("image_data", first), *many) if each
    ]
    if pictures:
        return pictures
    if wanted.media_store_id:
        return [ImageRef(media_store_id=wanted.media_store_id)]
    raise InvalidInput("expected an image: image_data, images, url or media_store_id")


def _picture(image: ImagePayload | ImageAt | str, name: str, max_bytes: int) -> Picture:
    match image:
        case ImagePayload(data=text) | str(text):
            return decode(text, name, max_bytes)
        case ImageAt(url=str(url), media_store_id=None):
            return ImageRef(url=url)
        case ImageAt(url=None, media_store_id=str(media_store_id)):
            return ImageRef(media_store_id=media_store_id)
        case _:
            raise InvalidInput("expected each of images to have data, a url or a media_store_id")


def hold_places(ticket: Ticket, order: Order) -> None:
    """Count the pictures in that are here as bytes."""
    ticket.add(sum(isinstance(each, bytes) for each in order.pictures))
