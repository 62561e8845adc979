"""The images of a request, in whichever of the documented forms they come."""

import asyncio

from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from omma.api import bodies
from omma.api.admission import Ticket
from omma.api.base64_images import decode, text_length
from omma.api.bodies import BodyLimits
from omma.api.disconnects import unless_disconnected
from omma.api.multipart import ENVELOPE_BYTES, FormLimits, Upload, read_files
from omma.api.options import UploadLimits
from omma.domain.errors import (
    EmptyImage,
    InvalidInput,
    OmmaError,
    TooManyImages,
    UnsupportedMediaType,
)
from omma.ports.urls import UrlFetcher
from omma.wire.images import ImageData, ImageUrl

FORM, JSON, BYTES = "multipart/form-data", "application/json", "application/octet-stream"
JSON_ENVELOPE_BYTES = 16 * 1024  # a long URL, or the data URL's prefix
MAX_STRUCTURE = (
    64  # of { [ , and : in JSON; more than a URL holds is a tree that takes long to build
)
LARGE_JSON_BYTES = 256 * 1024  # parsing and decoding more would hold the event loop
REFERENCE: TypeAdapter[ImageUrl | ImageData] = TypeAdapter(ImageUrl | ImageData)


async def read_image(
    request: Request, limits: UploadLimits, urls: UrlFetcher, ticket: Ticket
) -> bytes:
    """The one image that the request sends or names; never empty."""
    if image := await _image(request, limits, urls, ticket):
        return image
    raise EmptyImage("expected an image, got no bytes")


async def _image(request: Request, limits: UploadLimits, urls: UrlFetcher, ticket: Ticket) -> bytes:
    match bodies.media_type(request):
        case kind if kind == FORM:
            return _value(await _only_file(request, limits, ticket))
        case kind if kind == JSON:
            return await _referenced(request, limits, urls, ticket)
        case "" if bodies.is_empty(request):
            return b""
        case kind if kind.startswith("image/") or kind == BYTES:
            return await bodies.read(request, _body(limits, ticket))
        case kind:
            raise UnsupportedMediaType(f"expected {FORM}, image/*, {BYTES} or {JSON}, got {kind!r}")


async def read_images(request: Request, limits: UploadLimits, ticket: Ticket) -> list[Upload]:
    """The files of a batch, each with a place in work of its own before it is read."""
    if (kind := bodies.media_type(request)) != FORM:
        raise UnsupportedMediaType(f"expected {FORM}, got {kind!r}")

    def on_file(number: int) -> None:
        if number > limits.max_images:
            raise TooManyImages(f"expected at most {limits.max_images} images in one request")
        if number > 1:  # the request came in with the first
            ticket.add()

    body = BodyLimits(limits.max_request_bytes, limits.pace, ticket, ENVELOPE_BYTES)
    form = FormLimits({"file", "files"}, limits.max_bytes, body)
    if uploads := await read_files(request, form, on_file):
        return uploads
    raise EmptyImage("expected one or more parts named 'file', got none")


async def _only_file(request: Request, limits: UploadLimits, ticket: Ticket) -> Upload:
    def refuse_second(number: int) -> None:
        if number > 1:
            raise InvalidInput(f"expected one part named 'file'; {_of_many(request.url.path)}")

    form = FormLimits({"file"}, limits.max_bytes, _body(limits, ticket, ENVELOPE_BYTES))
    if uploads := await read_files(request, form, refuse_second):
        return uploads[0]
    raise EmptyImage("expected a part named 'file', got none")


def _of_many(path: str) -> str:
    """Where more files than one are taken at once."""
    if "/faces/" in path:
        return "/api/v1/faces/embed/batch takes more"
    return "/api/v1/batch/submit takes more, as jobs"


def _value(upload: Upload) -> bytes:
    if isinstance(upload.data, OmmaError):
        raise upload.data
    return upload.data


def _body(limits: UploadLimits, ticket: Ticket, envelope_bytes: int = 0) -> BodyLimits:
    return BodyLimits(limits.max_bytes, limits.pace, ticket, envelope_bytes)


async def _referenced(
    request: Request, limits: UploadLimits, urls: UrlFetcher, ticket: Ticket
) -> bytes:
    wrapping = text_length(limits.max_bytes) - limits.max_bytes + JSON_ENVELOPE_BYTES
    body = await bodies.read(request, _body(limits, ticket, wrapping))
    if len(body) > LARGE_JSON_BYTES:
        found = await asyncio.to_thread(_open, body, limits.max_bytes)
    else:
        found = _open(body, limits.max_bytes)
    if isinstance(found, bytes):
        return found
    with ticket.fetching():
        fetch = urls.fetch(found.url, max_bytes=limits.max_bytes)
        image = await unless_disconnected(request, fetch)
    ticket.hold(len(image))
    return image


def _open(body: bytes, max_bytes: int) -> bytes | ImageUrl:
    if bodies.count_marks(body) > MAX_STRUCTURE:
        raise InvalidInput("expected one URL or image, got more structure than they need")
    try:
        found = REFERENCE.validate_json(body)
    except ValidationError:
        raise InvalidInput("expected {'url': ...} or {'image': base64 or a data URL}") from None
    return found if isinstance(found, ImageUrl) else decode(found.image, "image", max_bytes)
