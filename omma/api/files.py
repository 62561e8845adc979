"""The files of a job's result; who knows the job's id may read them."""

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from omma.api.access import public_by_id
from omma.api.describe import PROBLEM_SCHEMA, Spec
from omma.api.options import ContextOf
from omma.domain.jobs import JobId
from omma.ports.blobs import BlobInfo
from omma.wire.problems import PROBLEM_MEDIA_TYPE

BYTES = "application/octet-stream"
MEDIA_TYPES = {".jpg": "image/jpeg", ".json": "application/json"}
RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")  # one range; of several, all is sent
SAFE_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def _problem(description: str) -> Spec:
    content = {PROBLEM_MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}
    return {"description": description, "content": content}


router = APIRouter(tags=["jobs"], dependencies=[Depends(public_by_id)])


@router.get(
    "/job/{job_id}/files/{path:path}",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The file.", "content": {BYTES: {}, "image/jpeg": {}}},
        206: {"description": "The part of it that `Range` asks for."},
        304: {"description": "It is what `If-None-Match` or `If-Modified-Since` names."},
        404: _problem("No job has such a file."),
        416: _problem("The file ends before the range begins."),
        503: _problem("The records or the files do not answer: try again."),
    },
)
async def file_of_job(job_id: str, path: str, request: Request, context: ContextOf) -> Response:
    """Send a file that a job's result names, or the part of it that `Range` asks for."""
    files = context.services.files
    info = await files.info(JobId(job_id), path)
    headers = _headers(info)
    if _is_unchanged(request.headers, headers):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    start, end = 0, info.size_bytes
    status = HTTPStatus.OK
    if asked := _range(request.headers, headers, info.size_bytes):
        start, end = asked
        status = HTTPStatus.PARTIAL_CONTENT
        headers["content-range"] = f"bytes {start}-{end - 1}/{info.size_bytes}"
    headers["content-length"] = str(end - start)
    parts = files.stream(info, start, end)
    first = await anext(parts, b"")  # what goes wrong with it still gets an answer of its own
    return StreamingResponse(_joined(first, parts), status, headers)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part


def _headers(info: BlobInfo) -> dict[str, str]:
    name = info.path.rpartition("/")[2]
    suffix = name[name.rfind(".") :]
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",  # to be asked for again: a job may be deleted
        "content-type": MEDIA_TYPES.get(suffix, BYTES),
        "etag": f'"{info.etag}"',
        "x-content-type-options": "nosniff",
    }
    if suffix not in MEDIA_TYPES:
        file_name = f'; filename="{name}"' if SAFE_NAME.fullmatch(name) else ""
        headers["content-disposition"] = f"attachment{file_name}"
    if info.modified_at:
        modified_at = info.modified_at.astimezone(UTC).replace(microsecond=0)
        headers["last-modified"] = format_datetime(modified_at, usegmt=True)
    return headers


def _range(asked: Headers, headers: Mapping[str, str], size_bytes: int) -> tuple[int, int] | None:
    """The part that is asked for, half-open; None for the whole."""
    found = RANGE.fullmatch(asked.get("range", "").replace(" ", ""))
    condition = asked.get("if-range", headers["etag"])
    if not found or condition not in {headers["etag"], headers.get("last-modified")}:
        return None
    return _span(found[1], found[2], size_bytes)


def _span(first: str, last: str, size_bytes: int) -> tuple[int, int] | None:
    if first:
        start, end = int(first), int(last) + 1 if last else size_bytes
    elif last:  # so many at the end
        start, end = max(0, size_bytes - int(last)), size_bytes
    else:
        return None
    if start >= size_bytes:
        raise HTTPException(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"the file has {size_bytes} bytes",
            {"content-range": f"bytes */{size_bytes}", "accept-ranges": "bytes"},
        )
    return (start, min(end, size_bytes)) if start < end else None


def _is_unchanged(asked: Headers, headers: Mapping[str, str]) -> bool:
    """Whether the asker has this file: by ``If-None-Match``, else by ``If-Modified-Since``.

    The order is RFC 9110's (13.2.2); weak names are good enough here.
    """
    if "if-none-match" in asked:
        names = {name.strip().removeprefix("W/") for name in asked["if-none-match"].split(",")}
        return headers["etag"] in names or "*" in names
    since, modified = _date(asked.get("if-modified-since")), _date(headers.get("last-modified"))
    return bool(since and modified and modified <= since)


def _date(text: str | None) -> datetime | None:
    """An HTTP date; None for none, and for what is no date."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None
