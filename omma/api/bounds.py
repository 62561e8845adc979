"""The most items that requests may hold, in /openapi.json as the settings have them."""

from collections.abc import Iterator
from copy import deepcopy
from functools import reduce
from typing import Any

from fastapi import FastAPI

from omma.api.describe import Spec
from omma.api.images import FORM, JSON
from omma.api.options import Context

Bound = tuple[str, str, tuple[str, ...], int]  # a path, a media type, where in it, the most


def install(app: FastAPI, context: Context) -> None:
    """Let the document of ``app`` say them; routes are declared before any settings are read."""
    made = app.openapi

    def openapi() -> Spec:
        if app.openapi_schema is None:
            document = deepcopy(made())  # what routes declare is shared by all applications
            for path, kind, keys, most in _bounds(context):
                content = document["paths"][path]["post"]["requestBody"]["content"]
                reduce(_member, keys, content[kind]["schema"])["maxItems"] = most
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # FastAPI's own way to change it


def _member(schema: Any, key: str) -> Any:
    return schema[key]


def _bounds(context: Context) -> Iterator[Bound]:
    rules, uploads = context.services.jobs.rules, context.options.uploads
    images, items = ("properties", "images"), ("properties", "items")
    yield "/api/v1/faces/embed/batch", FORM, ("properties", "file"), uploads.max_images
    yield "/api/v1/queue/submit/{job_type}", JSON, images, rules.max_images
    yield "/api/v1/batch/submit", JSON, items, rules.max_batch_items
    yield "/api/v1/batch/submit", JSON, (*items, "items", *images), rules.max_images
