"""``/ws/queue``: the queue as the gateway's clients watch it, and cancel in it."""

import asyncio
import logging
from contextlib import suppress
from http import HTTPStatus

from fastapi import APIRouter, Depends, WebSocket, WebSocketDisconnect

from omma.api.access import Open, Owner, require
from omma.api.conversation import Conversation, Unfit
from omma.api.errors import problem_of
from omma.api.options import Context, Services
from omma.api.pages import is_own_page
from omma.api.streams import FAREWELL_S, expiry, first_of
from omma.domain.errors import OmmaError
from omma.domain.tokens import SUPPORT, Principal

log = logging.getLogger(__name__)

GOING_AWAY, TRY_LATER = 1001, 1013  # RFC 6455's
UNAUTHORIZED, FORBIDDEN = 4401, 4403
CLOSE_CODES = {HTTPStatus.UNAUTHORIZED: UNAUTHORIZED, HTTPStatus.FORBIDDEN: FORBIDDEN}

GUARD = require(SUPPORT, owner=Owner.SUBJECT, in_query=True)

router = APIRouter()


# Browsers learn nothing of a refused handshake: the guard is asked once the socket is open.
@router.websocket("/ws/queue", dependencies=[Depends(Open(GUARD.rule))])
async def watch_queue(socket: WebSocket) -> None:
    """Tell what happens to the jobs that the token may see; answer pings and cancellations."""
    context: Context = socket.app.state.context
    if not is_own_page(socket, context.options.cors_origins):
        await socket.close()  # before it is accepted: 403
        return
    await socket.accept()
    services = context.services
    try:
        principal = await GUARD(socket)
        with services.feed.admit(principal.subject):
            await _converse(socket, services, principal)
    except OmmaError as error:
        await _close(socket, _close_code(error), str(problem_of(error).detail))
    except Unfit as unfit:
        await _close(socket, *unfit.args)
    except TimeoutError:
        log.info("let go of a client that reads no messages")
        await _close(socket, TRY_LATER, "nothing was read for too long")
    except WebSocketDisconnect:
        pass
    else:
        await _close(socket, GOING_AWAY, "the server is stopping")


def _close_code(error: OmmaError) -> int:
    return CLOSE_CODES.get(HTTPStatus(problem_of(error).status), TRY_LATER)


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with suppress(TimeoutError, RuntimeError, WebSocketDisconnect):  # they may be gone already
        async with asyncio.timeout(FAREWELL_S):
            await socket.close(code, reason.encode()[:120].decode(errors="ignore"))


async def _converse(socket: WebSocket, services: Services, principal: Principal) -> None:
    feed = services.feed
    conversation = Conversation(socket, services, GUARD, principal)
    # Followed before the status is read: what happens between the two is told twice, not never.
    follower = await feed.follow(None, wants=conversation.wants)
    await conversation.send_status()
    await first_of(
        conversation.tell(follower),
        conversation.listen(),
        feed.stopped(),
        _until_expired(principal),
    )


async def _until_expired(principal: Principal) -> None:
    await expiry(principal)
    raise Unfit(UNAUTHORIZED, "the token has expired")
