"""The last resort: an unforeseen fault is logged once and answered without its inside."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omma.api.errors import unexpected
from omma.api.requests import request_id

log = logging.getLogger(__name__)


class LastResort:
    """Answers 500 for what nothing else caught."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        has_begun = False

        async def watch(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            if scope["type"] != "http" or has_begun:
                raise  # too late for an answer of ours; the server closes the connection
            log.exception("request failed", extra={"request_id": request_id.get()})
            # Some routes have words of their own.
            answer = getattr(scope.get("route"), "unexpected", unexpected)
            await answer()(scope, receive, send)
