"""What /openapi.json says beyond the routes' own signatures."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from pydantic import BaseModel

from omma.wire.cards import CorrectionParams
from omma.wire.gateway import QueueRequest
from omma.wire.images import ImageData, ImageUrl
from omma.wire.jobs import JobRequest
from omma.wire.problems import PROBLEM_MEDIA_TYPE

Spec = dict[str, Any]  # JSON, as OpenAPI writes it

BINARY: Spec = {"type": "string", "format": "binary"}
PROBLEM_SCHEMA: Spec = {"$ref": "#/components/schemas/Problem"}

MEANINGS: Mapping[HTTPStatus, str] = {
    HTTPStatus.BAD_REQUEST: "No such task type.",
    HTTPStatus.UNAUTHORIZED: "No token, or none that is trusted here.",
    HTTPStatus.FORBIDDEN: "A token that does not open this.",
    HTTPStatus.NOT_FOUND: "Nothing of that name or id.",
    HTTPStatus.CONFLICT: "What is there already, or its state, does not allow it.",
    HTTPStatus.REQUEST_TIMEOUT: "The body took too long to arrive.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too many bytes, pixels, frames or images.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "A Content-Type that this route does not read.",
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        "No image, not an image, a URL that gave none, or a query out of its range."
    ),
    HTTPStatus.TOO_MANY_REQUESTS: "More than one subject may ask for: try again.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Our fault; the log has it under the request's id.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Too much in work, or not ready: try again.",
}


def _form(properties: Spec, required: list[str]) -> Spec:
    return {"schema": {"type": "object", "properties": properties, "required": required}}


IMAGE_BODY: Spec = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _form({"file": BINARY}, ["file"]),
            "image/*": {"schema": BINARY},
            "application/octet-stream": {"schema": BINARY},
            "application/json": {
                "schema": {"anyOf": [ImageUrl.model_json_schema(), ImageData.model_json_schema()]}
            },
        },
    }
}

BATCH_BODY: Spec = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _form({"file": {"type": "array", "items": BINARY}}, ["file"])
        },
    }
}

ROI_BODY: Spec = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": _form({"roi_image": BINARY}, ["roi_image"])},
    }
}


def json_body(shape: type[BaseModel], *, required: bool = True) -> Spec:
    """A body that is read by hand."""
    content = {"application/json": {"schema": schema_of(shape)}}
    return {"requestBody": {"required": required, "content": content}}


def schema_of(shape: type[BaseModel]) -> Spec:
    """Its schema without references: within the document they would lead nowhere."""
    schema = shape.model_json_schema()
    return _inlined(schema, schema.pop("$defs", {}))


def _inlined(schema: Spec, defs: Spec) -> Spec:
    if ref := schema.get("$ref"):
        return _inlined(defs[ref.rpartition("/")[2]], defs)
    return {key: _inlined_value(value, defs) for key, value in schema.items()}


def _inlined_value(value: Any, defs: Spec) -> Any:
    if isinstance(value, dict):
        return _inlined(cast("Spec", value), defs)
    if isinstance(value, list):
        return [_inlined_value(each, defs) for each in cast("list[Any]", value)]
    return value


def _job_body() -> Spec:
    schema = schema_of(JobRequest)
    form = {**schema, "properties": {"file": BINARY, **schema["properties"]}, "required": ["file"]}
    content = {"application/json": {"schema": schema}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


JOB_BODY = _job_body()


def _correction_body() -> Spec:
    said = schema_of(CorrectionParams)["properties"]
    form = _form({"file": BINARY, **said}, ["file"])
    return {"requestBody": {"required": True, "content": {"multipart/form-data": form}}}


CORRECTION_BODY = _correction_body()


def _batch_items() -> Spec:
    item = schema_of(QueueRequest)
    items = {"type": "array", "items": item, "minItems": 1}
    kind = {"type": "string", "description": "Before `items`, unless the query has it."}
    schema = {"type": "object", "properties": {"type": kind, "items": items}, "required": ["items"]}
    content = {
        "application/json": {"schema": schema},
        "application/x-ndjson": {"schema": {"type": "string", "description": "One item a line."}},
    }
    return {"requestBody": {"required": True, "content": content}}


BATCH_ITEMS = _batch_items()
KEY_PARAMETER: Spec = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": 200},
            "description": "The same key answers the same job.",
        }
    ]
}


def problems(*statuses: HTTPStatus) -> dict[int | str, Spec]:
    """The answers of a route that are not successes."""
    return {int(status): _problem(status) for status in (*statuses, *COMMON)}


COMMON = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
RETRIED = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}


def _problem(status: HTTPStatus) -> Spec:
    spec: Spec = {
        "description": MEANINGS[status],
        "content": {PROBLEM_MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}},
    }
    if status in RETRIED:
        spec["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "In s."}}
    return spec
