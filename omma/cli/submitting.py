"""Many jobs asked for at once, one line written for each."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import typer

from omma.cli.pictures import Picture
from omma.client.errors import AnswerTimeout, RequestRefused
from omma.client.jobs import JobCalls
from omma.wire.jobs import JobAnswer, JobRequest

AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Wish:
    """One job to ask for, and what its image is called."""

    name: str
    wanted: JobRequest
    picture: Picture | None = None


async def submit_all(
    client: JobCalls, operation: str, wishes: Sequence[Wish], *, as_json: bool
) -> tuple[list[JobAnswer], bool]:
    """The jobs that were taken, and whether those are all."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask(wish: Wish) -> JobAnswer | None:
        async with turns:
            try:
                image = await asyncio.to_thread(wish.picture.read) if wish.picture else None
                job = await client.submit_job(operation, wish.wanted, image=image)
            except (RequestRefused, AnswerTimeout, OSError) as error:
                _write({"name": wish.name, "error": str(error)}, as_json=as_json, is_error=True)
                return None
        _write({"job_id": job.job_id, "name": wish.name}, as_json=as_json)
        return job

    jobs = await asyncio.gather(*map(ask, wishes))
    return [job for job in jobs if job], all(jobs)


def _write(line: dict[str, str], *, as_json: bool, is_error: bool = False) -> None:
    text = orjson.dumps(line).decode() if as_json else "  ".join(line.values())
    typer.echo(text, err=is_error and not as_json)
