"""JSON bodies as typed values."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from omma.api import bodies
from omma.api.bodies import BodyLimits
from omma.api.images import JSON, LARGE_JSON_BYTES
from omma.domain.errors import InvalidInput, UnsupportedMediaType

MAX_FAULTS = 5  # named in one answer

Shape = TypeVar("Shape", bound=BaseModel)


async def read_json(request: Request, shape: type[Shape], limits: BodyLimits) -> Shape:
    """The body as ``shape``; types are taken at their word: "5" is no number."""
    if (kind := bodies.media_type(request)) != JSON:
        raise UnsupportedMediaType(f"expected {JSON}, got {kind!r}")
    body = await bodies.read(request, limits)
    if len(body) > LARGE_JSON_BYTES:
        return await asyncio.to_thread(parse_json, shape, body)
    return parse_json(shape, body)


def parse_json(shape: type[Shape], body: bytes) -> Shape:
    """JSON text as ``shape``, or `InvalidInput`."""
    if bodies.count_marks(body) > bodies.MAX_MARKS:
        raise InvalidInput("expected less structure")
    try:
        return shape.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise InvalidInput(mistakes(error)) from None


def parse_texts(shape: type[Shape], texts: Mapping[str, Any]) -> Shape:
    """The plain values of a form as ``shape``, or `InvalidInput`."""
    try:
        return shape.model_validate(texts)
    except ValidationError as error:
        raise InvalidInput(mistakes(error)) from None


def mistakes(error: ValidationError) -> str:
    """What is wrong and where, without what was sent."""
    found: Sequence[Any] = error.errors(
        include_url=False, include_context=False, include_input=False
    )
    told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found[:MAX_FAULTS]]
    return "; ".join(each.removeprefix(": ") for each in told)
