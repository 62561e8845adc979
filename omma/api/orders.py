"""What requests ask for, as orders of the job service."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import Request

from omma.api import bodies
from omma.api.admission import Ticket
from omma.api.bodies import BodyLimits
from omma.api.images import FORM
from omma.api.multipart import ENVELOPE_BYTES, Form, FormLimits, read_form
from omma.api.options import UploadLimits
from omma.api.reading import parse_texts, read_json
from omma.domain.errors import EmptyImage, InvalidInput, OmmaError, PermissionMissing
from omma.domain.jobs import Entity, ImageRef, Submission
from omma.domain.tokens import Principal
from omma.operations.declaring import BoundOperation
from omma.services.intake import Order, Picture, new_id
from omma.wire.jobs import EntityRef, JobRequest

MAX_JSON_BYTES = 64 * 1024  # of one job without its image
KEY_HEADER = "idempotency-key"
LONGEST_KEY = 200
JSON_FIELDS = ("params", "entity")  # of a form: their values are JSON


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """What a request may carry; ``ticket`` holds the room for it until its job is recorded."""

    uploads: UploadLimits
    ticket: Ticket


async def read_order(
    request: Request, principal: Principal, operation: BoundOperation, limits: OrderLimits
) -> Order:
    """The one job that the request asks for, in JSON or in a form with its image."""
    declared = operation.operation
    if not principal.may(declared.permission):
        raise PermissionMissing(f"Missing required permission: {declared.permission}")
    if bodies.media_type(request) == FORM:
        wanted, picture = await _of_form(request, limits)
    else:
        wanted, picture = await _of_json(request, limits), None
    key = idempotency_key(request, wanted.idempotency_key)
    order = _order(wanted, declared.name, (principal.subject, key))
    if not (declared.takes_images or picture or wanted.url or wanted.media_store_id):
        return order
    return replace(order, pictures=(_picture(wanted, picture),))


async def _of_json(request: Request, limits: OrderLimits) -> JobRequest:
    body = BodyLimits(MAX_JSON_BYTES, limits.uploads.pace, limits.ticket)
    return await read_json(request, JobRequest, body)


async def _of_form(request: Request, limits: OrderLimits) -> tuple[JobRequest, bytes]:
    uploads, ticket = limits.uploads, limits.ticket
    ticket.add()
    body = BodyLimits(uploads.max_bytes, uploads.pace, ticket, ENVELOPE_BYTES)
    parts = FormLimits({"file"}, uploads.max_bytes, body, texts=JobRequest.model_fields)
    form = await read_form(request, parts, _refuse_second)
    return parse_texts(JobRequest, _texts(form)), _file(form)


def _refuse_second(number: int) -> None:
    if number > 1:
        raise InvalidInput(
            "expected one part named 'file'; /api/v1/batch/submit takes more, as jobs"
        )


def _texts(form: Form) -> dict[str, Any]:
    return {name: _read(name, text) for name, text in form.texts.items()}


def _read(name: str, text: str) -> Any:
    if name not in JSON_FIELDS:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidInput(f"expected {name!r} to be JSON") from None


def _file(form: Form) -> bytes:
    if not form.uploads:
        raise EmptyImage("expected a part named 'file', got none")
    data = form.uploads[0].data
    if isinstance(data, OmmaError):
        raise data
    return data


def idempotency_key(request: Request, stated: str | None) -> str:
    """The key of the header or of the body; empty for none."""
    header = request.headers.get(KEY_HEADER, "").strip()
    if len(header) > LONGEST_KEY:
        raise InvalidInput(f"expected an Idempotency-Key of at most {LONGEST_KEY} characters")
    if header and stated and header != stated:
        raise InvalidInput("expected one idempotency key, got another in the header")
    return header or stated or ""


def _picture(wanted: JobRequest, upload: bytes | None) -> Picture:
    match upload, wanted.url, wanted.media_store_id:
        case bytes(), str(), _:
            raise InvalidInput("expected a file or a url, got both")
        case bytes() as data, _, _:
            return data
        case _, str() as url, _:
            return ImageRef(url=url)
        case _, _, str() as media_store_id:
            return ImageRef(media_store_id=media_store_id)
        case _:
            raise InvalidInput("expected media_store_id or url, or a form with a file")


def _order(wanted: JobRequest, operation: str, who: tuple[str, str]) -> Order:
    owner, key = who
    asked = Submission(
        job_id=new_id(),
        operation=operation,
        images=(),
        owner=owner,
        params=wanted.params,
        priority=wanted.priority,
        entity=entity_of(wanted.entity),
        media_store_id=wanted.media_store_id or "",
        idempotency_key=key,
        not_before=moment(wanted.scheduled_at),
        callback_url=wanted.callback_url or "",
    )
    return Order(asked, ())


def entity_of(ref: EntityRef | None) -> Entity:
    """The thing that a request is about."""
    if ref is None:
        return Entity()
    return Entity(ref.type, ref.id, ref.title or "", ref.path or "")


def moment(at: int | datetime | None) -> datetime | None:
    """A time as the wire has it, in UTC."""
    if isinstance(at, int):
        return datetime.fromtimestamp(at / 1000, UTC)
    return at.astimezone(UTC) if at else None


def with_key(request: Request, order: Order) -> Order:
    """The order under the idempotency key of the request's header, if it has one."""
    key = idempotency_key(request, order.asked.idempotency_key)
    return replace(order, asked=replace(order.asked, idempotency_key=key))
