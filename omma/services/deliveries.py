"""Telling others that jobs have ended: callbacks, and results for the media store."""

import asyncio
import hashlib
import hmac
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from omma.domain.errors import NotFound, OmmaError, UrlRefused, UrlTimeout
from omma.domain.jobs import Job, JobState
from omma.ports.deliveries import Delivered, Deliveries, Delivery, DeliveryKind, Poster
from omma.ports.media import MediaStore
from omma.services.posts import Window

log = logging.getLogger(__name__)

POLL_S = 1.0  # between looks for more while some are on their way
LEASE_S, LONGEST_S = 120.0, 60.0  # a post has ended well before another deliverer takes it
FIRST_S = {DeliveryKind.CALLBACK: 10.0, DeliveryKind.MEDIA_STORE: 2.0}  # doubles with each try
MOST_S = {DeliveryKind.CALLBACK: 3600.0, DeliveryKind.MEDIA_STORE: 60.0}
HOPELESS = (UrlRefused, NotFound)  # no further try would help
DONE = {JobState.COMPLETED, JobState.SYNC_FAILED}


@dataclass(frozen=True, slots=True)
class CallbackOptions:
    """The operator's word on callbacks and posts to the media store."""

    url: str = ""  # for jobs that name none
    secret: str = field(default="", repr=False)
    max_tries: int = 8
    media_store_tries: int = 3


@dataclass(frozen=True, slots=True)
class Senders:
    """Who carries what: clients' URLs are guarded, the operator's are not."""

    guarded: Poster
    plain: Poster
    media_store: MediaStore


class Deliverer:
    """Sends what is due of one kind and records what came of it; each is sent at least once."""

    def __init__(  # noqa: PLR0913  each of its own kind
        self,
        deliveries: Deliveries,
        senders: Senders,
        options: CallbackOptions,
        kind: DeliveryKind,
        *,
        clock: Callable[[], float] = time.time,
        poll_s: float = POLL_S,
    ) -> None:
        self._deliveries = deliveries
        self._senders = senders
        self._options = options
        self._window = Window(kind)
        self._clock = clock
        self._poll_s = poll_s

    async def run_once(self) -> int:
        """Send what is due, and becomes due meanwhile, until nothing is; how many that was."""
        sent = 0
        try:
            while True:
                sent += await self._begin()
                if not await self._window.one_has_ended(self._poll_s):
                    return sent
                await self._settle()
        except asyncio.CancelledError:
            await self._window.abandon()
            raise

    async def _begin(self) -> int:
        """Start as many as there is room for, in turns."""
        begun = 0
        while room := self._window.room:
            shares = self._window.shares
            due = await self._deliveries.due(limit=room, lease_s=LEASE_S, shares=shares)
            for delivery in due:
                self._window.begin(delivery, asyncio.create_task(self._deliver(delivery)))
            begun += len(due)
            if not due:
                break
        return begun

    async def _settle(self) -> None:
        """Record what has ended; what the records did not take is kept for the next time."""
        ended = self._window.ended
        if ended:
            await self._deliveries.settle([task.result() for task in ended])
            self._window.forget(ended)

    async def _deliver(self, delivery: Delivery) -> Delivered:
        if not delivery.job.state.has_ended:
            return Delivered(delivery, "the job was retried", _delay_s(delivery))
        try:
            async with asyncio.timeout(LONGEST_S):
                await self._send(delivery)
        except TimeoutError:
            return self._failed(delivery, UrlTimeout(f"no answer within {LONGEST_S:g} s"))
        except OmmaError as error:
            return self._failed(delivery, error)
        except Exception:  # of one receiver: the others are not to be told again for it
            log.exception("a delivery failed in an unforeseen way")
            return self._failed(delivery, OmmaError("an internal error; the log says more"))
        return Delivered(delivery)

    async def _send(self, delivery: Delivery) -> None:
        job = delivery.job
        match delivery.kind:
            case DeliveryKind.CALLBACK:
                await self._call_back(job)
            case DeliveryKind.MEDIA_STORE:
                media_store_id = job.asked.media_store_id
                await self._senders.media_store.post_result(media_store_id, job.result or {})

    async def _call_back(self, job: Job) -> None:
        body = callback_body(job)
        headers = self._headers(job, body)
        if url := job.asked.callback_url:
            await self._senders.guarded.post(url, body, headers)
        elif self._options.url:
            if self._options.secret:  # which clients that name a URL are not to learn
                headers["Authorization"] = f"Bearer {self._options.secret}"
            await self._senders.plain.post(self._options.url, body, headers)

    def _headers(self, job: Job, body: bytes) -> dict[str, str]:
        """Without a secret there is no signature: one that everybody can make says nothing."""
        timestamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "X-Omma-Delivery": f"{job.job_id}-{job.attempt}",
            "X-Omma-Timestamp": timestamp,
        }
        if self._options.secret:
            headers["X-Omma-Signature"] = signature(self._options.secret, timestamp, body)
        return headers

    def _failed(self, delivery: Delivery, error: OmmaError) -> Delivered:
        reason = str(error) or error.code
        tries = delivery.tries + 1
        if tries < self._most_tries(delivery.kind) and not isinstance(error, HOPELESS):
            return Delivered(delivery, reason, _delay_s(delivery))
        told = {"kind": delivery.kind.value, "job_id": delivery.job.job_id}
        log.warning("gave up a delivery", extra={**told, "tries": tries, "reason": reason})
        return Delivered(delivery, reason)

    def _most_tries(self, kind: DeliveryKind) -> int:
        options = self._options
        is_callback = kind is DeliveryKind.CALLBACK
        return options.max_tries if is_callback else options.media_store_tries


def callback_body(job: Job) -> bytes:
    """What a callback says of ``job``: the documented four fields, and more about it."""
    is_done = job.state in DONE
    body = {
        "job_id": job.job_id,
        "status": "completed" if is_done else "failed",
        "result": job.result if is_done else None,
        "error": None if is_done else _reason(job),
        "error_code": job.failure.code if job.failure and not is_done else None,
        "state": job.state.value,
        "task_type": job.asked.operation,
        "media_store_id": job.asked.media_store_id or None,
        "attempt": job.attempt,
    }
    return json.dumps(body, default=_plain, separators=(",", ":")).encode()


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the holder of ``secret`` alone can say of these bytes at this time."""
    signed = timestamp.encode() + b"." + body
    return f"sha256={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def _reason(job: Job) -> str:
    return job.failure.message if job.failure else f"the job is {job.state.value}"


def _delay_s(delivery: Delivery) -> float:
    """Twice as long after each try, with jitter, so that a receiver that is back is not stormed."""
    longest = min(MOST_S[delivery.kind], FIRST_S[delivery.kind] * 2.0 ** min(delivery.tries, 30))
    return random.uniform(longest / 2, longest)  # noqa: S311  not a secret


def _plain(value: Any) -> Any:
    return dict(value)
