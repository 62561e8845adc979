"""HEAD on every route that answers GET: the same status and headers, no body."""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """Asks the routes for GET, and ends the answer where its body would begin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        head: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        async def keep_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                head.set_result(message)
            await asyncio.Event().wait()  # nothing is wanted of a body, which may be a stream

        answer = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, keep_head))
        try:
            await asyncio.wait((head, answer), return_when=asyncio.FIRST_COMPLETED)
            if not head.done():
                await answer  # raises what kept it from answering
                return
            await send(head.result())
            await send({"type": "http.response.body"})
        finally:
            answer.cancel()
            with suppress(asyncio.CancelledError):
                await answer
