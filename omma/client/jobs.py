"""Durable jobs, asked for and followed from here."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import orjson

from omma.client.connection import Connection, Heard
from omma.client.errors import ServerUnreachable
from omma.domain.events import ENDING
from omma.wire.jobs import (
    CleanupAnswer,
    CleanupRequest,
    JobAnswer,
    JobListAnswer,
    JobListParams,
    JobRequest,
    StatsAnswer,
)

RECONNECT_S = 2.0  # after a stream broke
JSON = {"content-type": "application/json"}


class JobCalls(Connection):
    """What one may ask about jobs."""

    async def submit_job(
        self, operation: str, wanted: JobRequest, *, image: bytes | None = None
    ) -> JobAnswer:
        """Ask for one job, of ``image`` or of what ``wanted`` names; sent twice, it is one job."""
        fields = wanted.model_dump(mode="json", exclude_defaults=True)
        key = {"idempotency-key": wanted.idempotency_key or str(uuid.uuid4())}
        if image is None:
            return await self._read_from(
                JobAnswer, "POST", f"/job/{operation}", json=fields, headers=key
            )
        form = {name: _as_text(value) for name, value in fields.items()}
        files = {"file": ("image", image)}
        return await self._read_from(
            JobAnswer, "POST", f"/job/{operation}", data=form, files=files, headers=key
        )

    async def job(self, job_id: str) -> JobAnswer:
        """How it stands, and what came of it."""
        return await self._read_from(JobAnswer, "GET", _job(job_id))

    async def jobs(self, wanted: JobListParams | None = None) -> JobListAnswer:
        """Jobs of yours, newest first, a page at a time."""
        query = wanted.model_dump(mode="json", exclude_defaults=True) if wanted else {}
        return await self._read_from(JobListAnswer, "GET", "/jobs", params=query)

    async def cancel(self, job_id: str) -> JobAnswer:
        """End it, waiting or running."""
        return await self._read_from(JobAnswer, "POST", f"{_job(job_id)}/cancel")

    async def retry(self, job_id: str) -> JobAnswer:
        """Let it wait again."""
        return await self._read_from(JobAnswer, "POST", f"{_job(job_id)}/retry")

    async def delete(self, job_id: str) -> None:
        """Remove it with its result and its files."""
        await self._ask("DELETE", _job(job_id))

    async def cleanup(self, wanted: CleanupRequest | None = None) -> CleanupAnswer:
        """Remove jobs and files, for administrators."""
        body = (wanted or CleanupRequest()).model_dump_json()
        return await self._read_from(
            CleanupAnswer, "DELETE", "/admin/cleanup", content=body, headers=JSON
        )

    async def stats(self) -> StatsAnswer:
        """How much there is, for administrators."""
        return await self._read_from(StatsAnswer, "GET", "/admin/stats")

    async def watch(self, job_id: str = "", *, after: int | None = None) -> AsyncIterator[Heard]:
        """What happens to one job, from its beginning to its end; or to all of yours, from now on.

        A stream that breaks goes on where it was.
        """
        path = f"{_job(job_id)}/events" if job_id else "/events"
        while True:
            is_over = bool(job_id)  # its stream ends with it, unless the line broke
            try:
                async for heard in self._stream(path, after):
                    after = heard.seq
                    yield heard
                    is_over = bool(job_id) and heard.event.event in ENDING
            except ServerUnreachable:
                if after is None:
                    raise
                is_over = False
            if is_over:
                return
            await asyncio.sleep(RECONNECT_S)


def _job(job_id: str) -> str:
    return f"/job/{quote(job_id, safe='')}"


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
