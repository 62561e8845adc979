"""HEAD answers as GET does, without the body: what health checks and download managers ask."""

import re
import uuid

import pytest
from fastapi.routing import iter_route_contexts

from omma.api.app import ApiOptions, build_api
from tests.service_fakes import fake_services


def get_paths():
    found = iter_route_contexts(build_api(fake_services(), ApiOptions()).routes)
    return sorted({r.path for r in found if "GET" in (getattr(r, "methods", None) or ())})


def named(headers):
    return {name: value for name, value in headers.items() if name != "x-request-id"}


def filled(path):
    return re.sub(r"\{[^}]+\}", lambda _: str(uuid.UUID(int=1)), path)


@pytest.mark.parametrize("path", [path for path in get_paths() if "events" not in path])
async def test_head_has_the_status_and_headers_of_get_and_no_body(client, path):
    get = await client.get(filled(path))

    head = await client.head(filled(path))

    assert head.status_code == get.status_code
    assert named(head.headers) == named(get.headers)
    assert head.content == b""


@pytest.mark.parametrize("path", [path for path in get_paths() if "events" in path])
async def test_head_of_a_stream_ends(client, path):
    answer = await client.head(filled(path))

    assert answer.status_code in {200, 404}
    assert answer.content == b""


async def test_head_of_what_only_takes_uploads_is_not_allowed(client):
    answer = await client.head("/api/v1/faces/detect")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


async def test_a_fault_while_head_is_answered_is_a_500(client, status):
    async def broken():
        raise ZeroDivisionError

    status.health = broken

    answer = await client.head("/health")

    assert answer.status_code == 500
    assert answer.content == b""
