"""Which instance a request is for, proved between HAProxy and the replicas behind it.

Replicas of every instance on a machine listen on ports of one range, so that one that has died may
have left its port to a replica of another instance, before the HAProxy in front has noticed. Our
HAProxy therefore writes our id into what it forwards, a replica answers nothing else, and shows the
id to HAProxy's health checks. (Ray's own connections show the token of their home.)
"""

import os

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.haproxy import OWNER
from deployments.instance import instance_id
from deployments.reaping import MARKER
from omma.api.errors import answer_to
from omma.domain.errors import NotReady

HEALTH = "/-/healthz"  # HAProxy answers that of a client itself
RETRY_AFTER_S = 1


def own_requests_only() -> list[Middleware]:
    """What Serve puts in front of every server of HTTP that it starts behind HAProxy."""
    return [Middleware(OwnRequests, instance_id(os.environ[MARKER]))]


class OwnRequests:
    """Passes on requests that are for ``own``, an instance's id, and refuses all others."""

    def __init__(self, app: ASGIApp, own: str) -> None:
        self._app = app
        self._own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or one WebSocket."""
        if Headers(scope=scope).get(OWNER) != self._own:
            error = NotReady("this request was for another instance of omma", RETRY_AFTER_S)
            await answer_to(error)(scope, receive, send)
            return
        if scope["path"] == HEALTH:
            send = self._signed(send)
        await self._app(scope, receive, send)

    def _signed(self, send: Send) -> Send:
        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[OWNER] = self._own
            await send(message)

        return signed
