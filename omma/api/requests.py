"""What every request gets: an id, one line in the log, an answer even when something breaks."""

import logging
import re
import time
import uuid
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
SAFE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")  # fits a log line and a header
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class RequestIds:
    """Accepts or makes the request's id, sends it back, and logs the answer under it."""

    def __init__(self, app: ASGIApp, *, echo: bool) -> None:
        self._app = app
        self._echo = echo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, _accept_id(scope), echo=self._echo)
        token = request_id.set(answer.request_id)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            request_id.reset(token)
            answer.log(scope)


class _Answer:
    """Watches one answer go out."""

    def __init__(self, send: Send, request_id: str, *, echo: bool) -> None:
        self.request_id = request_id
        self._send = send
        self._echo = echo
        self._status: int | None = None
        self._started = time.perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._echo:
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = self.request_id
        await self._send(message)

    def log(self, scope: Scope) -> None:
        took_ms = round((time.perf_counter() - self._started) * 1000, 1)
        log.info(
            "answered request",
            extra={
                "method": scope["method"],
                "path": scope["path"],  # without the query, which may hold what is not ours
                "status": self._status,
                "took_ms": took_ms,
                "request_id": self.request_id,
            },
        )


def _accept_id(scope: Scope) -> str:
    theirs = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return theirs if SAFE_ID.fullmatch(theirs) else uuid.uuid4().hex
