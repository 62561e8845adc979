"""Server-sent events: ``/events`` and ``/job/{job_id}/events``."""

import asyncio
import logging
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Response
from starlette.types import Receive, Scope, Send

from omma.api.access import Owner, public_by_id, require
from omma.api.describe import problems
from omma.api.options import ContextOf
from omma.api.streams import FAREWELL_S, expiry, first_of
from omma.domain.errors import InvalidInput, JobNotFound
from omma.domain.events import Event
from omma.domain.jobs import JobId
from omma.domain.tokens import SUPPORT, Principal
from omma.services.events import EventFeed
from omma.services.following import Follower
from omma.services.intake import as_id
from omma.wire.events import HIGHEST_ID, JobStreamParams, StreamedEvent, StreamParams

log = logging.getLogger(__name__)

RETRY_MS = 2000
HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-store",
    "x-accel-buffering": "no",  # nginx would hold events back until it has a page of them
}
KEEP_ALIVE = b": keep-alive\n\n"
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events, each with its place as `id:` and a `StreamedEvent` as `data:`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID")]

LONGEST_ID = len(str(HIGHEST_ID))
NOBODYS = "none"  # the id of no job
GUARD = require(SUPPORT, owner=Owner.SUBJECT, in_query=True)

router = APIRouter(tags=["events"])


@router.get("/events", response_class=Response, responses=STREAM | problems())
async def stream_events(
    context: ContextOf,
    principal: Annotated[Principal, Depends(GUARD)],
    params: Annotated[StreamParams, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Tell what happens to the jobs that the token may see, from now on or after an event."""
    feed = context.services.feed

    def wants(event: Event) -> bool:
        is_kind = not params.kind or event.kind in params.kind
        return is_kind and principal.may_see(event.owner)

    job_id = JobId(as_id(params.job_id) or NOBODYS) if params.job_id else None
    follower = await feed.follow(_place(last_event_id, params), wants=wants, job_id=job_id)
    return EventStream(feed, follower, principal=principal)


@router.get(
    "/job/{job_id}/events",
    response_class=Response,
    dependencies=[Depends(public_by_id)],
    responses=STREAM
    | {204: {"description": "The job has ended, and the client has heard all of it."}}
    | problems(HTTPStatus.NOT_FOUND),
)
async def stream_events_of_job(
    context: ContextOf,
    job_id: str,
    params: Annotated[JobStreamParams, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Tell all that has happened to one job and will, until it has ended; its id is the key."""
    feed = context.services.feed
    place = _place(last_event_id, params)
    known = as_id(job_id)
    if known is None:
        raise JobNotFound("no job with this id")
    follower = await feed.follow_job(JobId(known), place)
    first = await follower.next(patience_s=0)
    if place is not None and follower.has_ended and not first:
        return Response(status_code=HTTPStatus.NO_CONTENT)  # browsers then stop asking again
    return EventStream(feed, follower, first=first)


def _place(header: str | None, params: JobStreamParams) -> int | None:
    """Browsers that come back send the header, and the query as it was at first."""
    if not header:
        return params.last_event_id
    is_number = len(header) <= LONGEST_ID and header.isascii() and header.isdecimal()
    if not is_number or int(header) > HIGHEST_ID:
        raise InvalidInput("expected Last-Event-ID to be the id of an event")
    return int(header)


class EventStream(Response):
    """Writes what a follower hears until it, the client or the server has enough."""

    def __init__(
        self,
        feed: EventFeed,
        follower: Follower,
        *,
        principal: Principal | None = None,
        first: list[Event] | None = None,
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._feed = feed
        self._follower = follower
        self._principal = principal
        self._first = first or []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        del scope
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        with self._feed.admit(self._principal.subject if self._principal else None):
            await send(start)
            try:
                await first_of(
                    self._tell(send),
                    _disconnect(receive),
                    self._feed.stopped(),
                    expiry(self._principal),
                )
            except TimeoutError:
                log.info("let go of a client that reads no events")
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await send({"type": "http.response.body", "body": b""})

    async def _tell(self, send: Send) -> None:
        options = self._feed.options
        body = b"retry: %d\n\n" % RETRY_MS + b"".join(map(_frame, self._first))
        while True:
            async with asyncio.timeout(options.send_timeout_s):
                await send({"type": "http.response.body", "body": body, "more_body": True})
            if self._follower.has_ended:
                return
            events = await self._follower.next(patience_s=options.keep_alive_s)
            body = b"".join(map(_frame, events)) or KEEP_ALIVE


def _frame(event: Event) -> bytes:
    told = StreamedEvent.model_construct(
        event=event.kind,
        data=dict(event.data),
        job_id=event.job_id,
        timestamp=int(event.at.timestamp() * 1000),
    )
    data = orjson.dumps(told.model_dump())
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.encode(), data)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
