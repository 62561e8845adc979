"""One open socket of the queue: what it is told, and what it may say."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from fastapi import WebSocket
from pydantic import BaseModel, ValidationError

from omma.api.access import Guard
from omma.api.errors import problem_of
from omma.api.gateway_queue import TOLD, queue_status, update_data
from omma.api.options import Services
from omma.domain.errors import JobNotFound, OmmaError
from omma.domain.events import Event
from omma.domain.jobs import JobId
from omma.domain.tokens import Principal
from omma.services.following import Follower
from omma.services.overview import QueueStatus
from omma.wire.events import (
    CancelMessage,
    Command,
    ErrorMessage,
    PongMessage,
    QueueStatusMessage,
    QueueUpdateMessage,
)

MAX_MESSAGE = 64 * 1024  # characters; no command comes near
REST_S = 1.0  # without an event: the queue has come to rest, its status is sent once more
UNSUPPORTED, TOO_BIG = 1003, 1009  # RFC 6455's
WORDS = {"ping", "get_status"}  # may come as they are, without JSON around them


class Unfit(Exception):
    """What ends the conversation: a close code and a reason."""


@dataclass(slots=True)
class Conversation:
    """One open socket."""

    socket: WebSocket
    services: Services
    guard: Guard
    principal: Principal
    _sending: asyncio.Lock = field(default_factory=asyncio.Lock)

    def wants(self, event: Event) -> bool:
        """Whether this client hears of it."""
        return event.kind in TOLD and self.principal.may_see(event.owner)

    async def tell(self, follower: Follower) -> None:
        """Send every event, and a true status at last when the last ones told a stale one."""
        keep_alive_s = self.services.feed.options.keep_alive_s
        told_at, is_stale = 0.0, False
        while not follower.has_ended:
            events = await follower.next(patience_s=REST_S if is_stale else keep_alive_s)
            if events:
                told_at = time.monotonic()
                status = await self._status()
                is_stale = status.looked_at < told_at
                await self._send_updates(events, status)
            elif is_stale:
                status = await self._status()
                is_stale = status.looked_at < told_at  # kept for long: another rest, then
                if not is_stale:
                    await self._send_status(status)

    async def _send_updates(self, events: list[Event], status: QueueStatus) -> None:
        now = queue_status(status)
        for event in events:
            await self._send(
                QueueUpdateMessage.model_construct(
                    event=event.kind, job_id=event.job_id, data=update_data(event), queue_status=now
                )
            )

    async def listen(self) -> None:
        """Answer what the client says until it leaves or says what ends the conversation."""
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text: str | None = message.get("text")
            if text is None:
                raise Unfit(UNSUPPORTED, "expected text, got bytes")
            if len(text) > MAX_MESSAGE:
                raise Unfit(TOO_BIG, f"expected at most {MAX_MESSAGE} characters")
            await self._answer(text)

    async def _answer(self, text: str) -> None:
        try:
            command = _read(text)
        except ValidationError:
            await self._send(ErrorMessage(message="expected ping, get_status or cancel_job"))
            return
        match command.type:
            case "ping":
                await self._send(PongMessage())
            case "get_status":
                await self.send_status()
            case "cancel_job":
                await self._send(await self._cancel(command.job_id))

    async def _cancel(self, job_id: str) -> CancelMessage:
        try:
            principal = await self.guard(
                self.socket
            )  # every change counts as a request, and is judged
            await self.services.jobs.cancel(principal, JobId(job_id))
        except JobNotFound:
            return CancelMessage(job_id=job_id, success=False, message="Job not found")
        except OmmaError as error:
            return CancelMessage(
                job_id=job_id, success=False, message=str(problem_of(error).detail)
            )
        return CancelMessage(job_id=job_id, success=True, message="Job cancelled")

    async def send_status(self) -> None:
        """Send the queue's status as it is now."""
        await self._send_status(await self._status())

    async def _send_status(self, status: QueueStatus) -> None:
        await self._send(QueueStatusMessage(data=queue_status(status)))

    async def _status(self) -> QueueStatus:
        owner = "" if self.principal.is_admin else self.principal.subject
        return await self.services.feed.queue.of(owner)

    async def _send(self, message: BaseModel) -> None:
        body: Any = message.model_dump_json()
        async with asyncio.timeout(self.services.feed.options.send_timeout_s), self._sending:
            await self.socket.send_text(body)


def _read(text: str) -> Command:
    word = text.strip()
    return (
        Command.model_validate({"type": word})
        if word in WORDS
        else Command.model_validate_json(text)
    )
