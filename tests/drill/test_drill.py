"""The drill: thousands of jobs while whatever works on them is killed, again and again.

Every job must end exactly once, with one result and its file, and no file may be left over.
"""

import asyncio
import random
from functools import partial
from hashlib import sha256
from itertools import count

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

JOBS = 2000  # at least: there is work until the last kill
UPLOADS = 200  # of them; the others name a file of the media store
RUNNERS = 3
CALLERS = 24  # clients that submit at once
PAUSE_S = 0.4  # of each between two jobs: about as fast as the runners work
RUNNER_KILLS = 14
INGRESS_KILLS = 6
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
        "JOBS__WINDOW": 12,
        "JOBS__CHUNK": 4,
    }
    with at_work(tmp_path, settings, runners=RUNNERS) as team:
        yield team


async def test_whatever_is_killed_every_job_ends_once_with_one_result(team, database_url, tmp_path):
    async with opened(database_url) as database:
        suffering = asyncio.create_task(_suffer(team, database))
        ids = await _submit_all(team, until=suffering.done)
        await suffering
        await all_ended(database, PATIENCE_S)
        team.close()
        assert await lost(database)  # or nobody was killed at its work
        await each_ended_once(database, ids)
    await swept(database_url, tmp_path / "blobs")

    assert len(ids) >= JOBS
    assert files(tmp_path / "blobs") == _expected(ids)


async def _suffer(team, database):
    """Kill one after the other, in random order and at random moments."""
    kills = [partial(_kill_runner, team, database)] * RUNNER_KILLS
    kills += [partial(_kill_ingress, team)] * INGRESS_KILLS
    for kill in random.sample(kills, len(kills)):
        await eventually(kill, PATIENCE_S)
        await asyncio.sleep(random.uniform(0.2, 2.0))  # noqa: S311


async def _kill_runner(team, database):
    """Kill a runner that has jobs in hand, and start it again; False where none has."""
    name = await _runner_at_work(team, database)
    if not name:
        return False
    with team.paused(name):  # else it could finish between the look and the kill
        if team.processes[name].pid not in await runners_at_work(database):
            return False
        team.kill(name)
    team.start(name)
    return True


async def _runner_at_work(team, database):
    holders = await runners_at_work(database)
    names = [name for name, process in team.processes.items() if process.pid in holders]
    return names and random.choice(names)  # noqa: S311


async def _kill_ingress(team):
    """Kill the ingress and start it again; False while it does not answer yet."""
    if not await team.answers():
        return False
    team.kill("ingress")
    team.start("ingress")
    return True


async def _submit_all(team, until):
    """The ids of the jobs in the order of their numbers: enough, and more until ``until()``."""
    ids, numbers = {}, count()

    async def submit_on(client):
        while (number := next(numbers)) < JOBS or not until():
            ids[number] = await submit(client, **_body(number))
            await asyncio.sleep(PAUSE_S)

    async with team.client() as client:
        await asyncio.gather(*(submit_on(client) for _ in range(CALLERS)))
    return [ids[number] for number in sorted(ids)]


def _body(number):
    if number < UPLOADS:
        return {"files": {"file": ("a.jpg", _content(number))}}
    return {"json": {"media_store_id": f"m{number % JOBS}"}}


def _content(number):
    return str(number % JOBS).encode()


def _expected(ids):
    """Every file there should be, by path."""
    results = {
        f"jobs/{job_id}/digest.bin": _digest(number).encode() for number, job_id in enumerate(ids)
    }
    uploads = {f"uploads/{ids[n]}/0-{_digest(n)[:32]}": _content(n) for n in range(UPLOADS)}
    return results | uploads


def _digest(number):
    return sha256(_content(number)).hexdigest()
