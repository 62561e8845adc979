"""How an error looks over HTTP: RFC 9457 problem details, for ours and the framework's."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from omma.api.requests import request_id
from omma.domain import errors
from omma.domain.errors import (
    InvalidInput,
    OmmaError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from omma.wire.problems import PROBLEM_MEDIA_TYPE, TYPE_PREFIX, Problem, Resolution

log = logging.getLogger(__name__)

OUT_OF_MEMORY_RETRY_AFTER_S = 5

STATUS: Mapping[type[OmmaError], HTTPStatus] = {
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.UploadTimeout: HTTPStatus.REQUEST_TIMEOUT,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.OutOfMemory: HTTPStatus.SERVICE_UNAVAILABLE,  # overload by another name
}
CLIENT_GONE = 499  # nobody reads it; the status that proxies log for this


def problem_of(error: OmmaError) -> Problem:
    """Describe ``error``; what is our own fault is described to the log alone."""
    status = _status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("could not answer", exc_info=error, extra={"request_id": request_id.get()})
        return _problem(status, OmmaError.code, "the server could not answer; its log says why")
    return _problem(status, error.code, _detail(error), title=_title(error))


def answer_to(error: OmmaError) -> Response:
    """The whole answer about ``error``."""
    return _answer(problem_of(error), headers_of(error))


def unexpected() -> Response:
    """Answer for a fault that nobody foresaw, with nothing of its inside."""
    return _answer(unexpected_problem())


def unexpected_problem() -> Problem:
    """The same, for routes that have a body of their own."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return _problem(status, OmmaError.code, "the server failed; its log says why")


def install(app: FastAPI) -> None:
    """Answer every error that a route raises with a `Problem`."""
    app.add_exception_handler(OmmaError, _deliberate)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)


def _status_of(error: OmmaError) -> HTTPStatus:
    """Status of the nearest listed ancestor, 500 for none."""
    listed = (STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
    return next(listed, HTTPStatus.INTERNAL_SERVER_ERROR)


def _detail(error: OmmaError) -> str | Resolution:
    if isinstance(error, errors.TokenRevoked):
        return Resolution(error=str(error), resolution="Please get new token")
    return str(error)


def _title(error: OmmaError) -> str:
    return (type(error).__doc__ or "").partition("\n")[0]


def _problem(
    status: HTTPStatus, code: str, detail: str | Resolution, *, title: str = ""
) -> Problem:
    return Problem(
        type=f"{TYPE_PREFIX}{code}",
        title=title or status.phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request_id.get(),
    )


def _answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    body = problem.model_dump_json(exclude_none=True)
    return Response(body, problem.status, headers, PROBLEM_MEDIA_TYPE)


async def _deliberate(_request: Request, error: Any) -> Response:
    return answer_to(error)


def headers_of(error: OmmaError) -> dict[str, str]:
    """What an answer about ``error`` says in its headers: when to come back, or how to sign in."""
    match error:
        case Unavailable() | TooManyRequests():
            return {"retry-after": str(error.retry_after_s)}
        case Unauthorized():
            return {"www-authenticate": "Bearer"}
        case errors.OutOfMemory():
            return {"retry-after": str(OUT_OF_MEMORY_RETRY_AFTER_S)}
        case _:
            return {}


async def _malformed(_request: Request, error: Any) -> Response:
    faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return _answer(_problem(status, InvalidInput.code, "; ".join(faults)))


async def _http(_request: Request, error: Any) -> Response:
    status = HTTPStatus(error.status_code)
    problem = _problem(status, status.name.lower(), str(error.detail))
    return _answer(problem, error.headers)  # 405 keeps its Allow


async def _gone(_request: Request, _error: Any) -> Response:
    return Response(status_code=CLIENT_GONE)
