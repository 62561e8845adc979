"""The drill: thousands of jobs while whatever works on them is killed, again and again.

Every job must end exactly once, with one result and its file, and no file may be left over.
"""

import asyncio
import random
from hashlib import sha256

import pytest

from tests.databases import opened
from tests.drill.team import at_work, submit
from tests.drill.verdict import (
    all_ended,
    each_ended_once,
    eventually,
    files,
    lost,
    runners_at_work,
    swept,
)

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]

JOBS = 2000
UPLOADS = 200  # of them; the others name a file of the media store
RUNNERS = 3
CALLERS = 24  # clients that submit at once
KILLS = 20
PATIENCE_S = 300.0


@pytest.fixture
def team(tmp_path, database_url):
    media = tmp_path / "media"
    media.mkdir()
    for number in range(JOBS):
        (media / f"m{number}.jpg").write_bytes(_content(number))
    settings = {
        "DATABASE__URL": database_url,
        "MEDIA_STORE__FOLDER": media,
        "JOBS__WINDOW": 12,  # slow enough that there is work until the last kill
        "JOBS__CHUNK": 4,
    }
    with at_work(tmp_path, settings, runners=RUNNERS) as team:
        yield team


async def test_whatever_is_killed_every_job_ends_once_with_one_result(team, database_url, tmp_path):
    async with opened(database_url) as database:
        suffering = asyncio.create_task(_suffer(team, database))
        ids = await _submit_all(team)
        await suffering
        await all_ended(database, PATIENCE_S)
        team.close()
        assert await lost(database)  # or nobody was killed at its work
        await each_ended_once(database, ids)
    await swept(database_url, tmp_path / "blobs")

    assert len(ids) == JOBS
    assert files(tmp_path / "blobs") == _expected(ids)


async def _suffer(team, database):
    """Kill one after the other, at random moments, until it was often enough."""
    for _ in range(KILLS):
        name = await eventually(lambda: _victim(team, database), PATIENCE_S)
        team.kill(name)
        team.start(name)
        await asyncio.sleep(random.uniform(0.2, 2.0))  # noqa: S311


async def _victim(team, database):
    """A runner that has jobs in hand, or an ingress that answers."""
    holders = await runners_at_work(database)
    names = [name for name, process in team.processes.items() if process.pid in holders]
    if await team.answers():
        names.append("ingress")
    return names and random.choice(names)  # noqa: S311


async def _submit_all(team):
    """Every job, in the order of its number."""
    turns = asyncio.Semaphore(CALLERS)

    async def take_turn(client, number):
        async with turns:
            return await submit(client, **_body(number))

    async with team.client() as client:
        return await asyncio.gather(*(take_turn(client, number) for number in range(JOBS)))


def _body(number):
    if number < UPLOADS:
        return {"files": {"file": ("a.jpg", _content(number))}}
    return {"json": {"media_store_id": f"m{number}"}}


def _content(number):
    return str(number).encode()


def _expected(ids):
    """Every file there should be, by path."""
    results = {
        f"jobs/{job_id}/digest.bin": _digest(number).encode() for number, job_id in enumerate(ids)
    }
    uploads = {f"uploads/{ids[n]}/0-{_digest(n)[:32]}": _content(n) for n in range(UPLOADS)}
    return results | uploads


def _digest(number):
    return sha256(_content(number)).hexdigest()
