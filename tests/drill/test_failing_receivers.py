"""A media store or a receiver of callbacks fails and hangs: it is asked again until it is well."""

import hmac
import json
from collections import Counter

import pytest

from omma.stores.records.tables import attempts, callbacks, media_store_sync_status
from tests.databases import opened
from tests.drill.receivers import FAILING, HANGING, WELL, receiver
from tests.drill.team import at_work, media, submitted, upload
from tests.drill.verdict import all_ended, each_ended_once, eventually, failures, gathered, rows

__all__ = ["receiver"]

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]

SECRET = "the operator's and the receiver's"  # noqa: S105


def media_store(receiver, database_url, *, timeout_s=5, max_tries=2):
    return {
        "DATABASE__URL": database_url,
        "MEDIA_STORE__URL": receiver.url,
        "MEDIA_STORE__TIMEOUT_S": timeout_s,
        "MEDIA_STORE__MAX_TRIES": max_tries,
    }


async def test_a_media_store_that_fails_and_hangs_is_asked_until_it_is_well(
    tmp_path, database_url, receiver
):
    settings = media_store(receiver, database_url, timeout_s=1)
    with at_work(tmp_path, settings, runners=2) as team:
        async with team.client() as client, opened(database_url) as database:
            receiver.turn(GET=FAILING)
            ids = await submitted(client, map(media, range(6)))
            await eventually(lambda: _failed_each(database, ids, 1))
            receiver.turn(GET=HANGING)
            await eventually(lambda: _failed_each(database, ids, 2))
            receiver.turn(GET=WELL)
            await all_ended(database)
            await each_ended_once(database, ids)
            said = {row.error_message for row in await rows(database, attempts)}
            await eventually(lambda: _synchronised(database, ids))

    assert said >= {
        "the media store answered with status 500",
        "the media store did not answer within 1 s",
    }


async def _failed_each(database, ids, times):
    counts = await failures(database, "media_store_unreachable")
    return all(counts.get(job_id, 0) >= times for job_id in ids)


async def _synchronised(database, ids, *, state="completed"):
    told = await rows(database, media_store_sync_status)
    return {row.job_id for row in told if row.sync_status == state} == set(ids)


async def test_results_that_the_media_store_does_not_take_are_posted_again(
    tmp_path, database_url, receiver
):
    receiver.turn(POST=FAILING)
    settings = media_store(receiver, database_url, max_tries=10)
    with at_work(tmp_path, settings, runners=1) as team:
        async with team.client() as client, opened(database_url) as database:
            ids = await submitted(client, map(media, range(4)))
            await gathered(lambda: receiver.answered("POST", FAILING), 4)
            receiver.turn(POST=WELL)
            await eventually(lambda: _synchronised(database, ids))
            await each_ended_once(database, ids)

    paths = [each.path for each in receiver.answered("POST", WELL)]
    assert sorted(paths) == [f"/inference/results/m{number}" for number in range(4)]


async def test_a_job_whose_result_the_media_store_never_takes_can_be_posted_by_hand(
    tmp_path, database_url, receiver
):
    receiver.turn(POST=FAILING)
    with at_work(tmp_path, media_store(receiver, database_url), runners=1) as team:
        async with team.client() as client, opened(database_url) as database:
            [job_id] = await submitted(client, [media(0)])
            await gathered(lambda: receiver.answered("POST", FAILING), 1)
            receiver.turn(POST=HANGING)
            await eventually(lambda: _synchronised(database, [job_id], state="failed"))
            defeated = (await client.get(f"/job/{job_id}")).json()
            receiver.turn(POST=WELL)
            retried = await client.post(f"/job/{job_id}/retry")
            await eventually(lambda: _synchronised(database, [job_id]))
            await each_ended_once(database, [job_id])

    [posted] = receiver.answered("POST", WELL)
    assert defeated["status"] == "sync_failed"
    assert (retried.status_code, retried.json()["status"]) == (200, "completed")
    assert json.loads(posted.body) == defeated["result"]
    assert len(receiver.answered("GET", WELL)) == 1  # nothing was worked on again


async def test_callbacks_are_repeated_until_the_receiver_takes_them(
    tmp_path, database_url, receiver
):
    settings = {
        "DATABASE__URL": database_url,
        "CALLBACKS__URL": f"{receiver.url}/told",
        "CALLBACKS__SECRET": SECRET,
    }
    receiver.turn(POST=FAILING)
    with at_work(tmp_path, settings, runners=2) as team:
        async with team.client() as client, opened(database_url) as database:
            ids = await submitted(client, map(upload, range(6)))
            await gathered(lambda: receiver.answered("POST", FAILING), 6)
            receiver.turn(POST=WELL)
            await eventually(lambda: _called_back(database, ids))
            await each_ended_once(database, ids)

    told = receiver.answered("POST", WELL)
    assert Counter(json.loads(each.body)["job_id"] for each in told) == Counter(ids)
    assert all(json.loads(each.body)["status"] == "completed" for each in told)
    assert all(each.headers["x-omma-signature"] == _signature(each) for each in told)
    assert all(each.headers["authorization"] == f"Bearer {SECRET}" for each in told)


async def _called_back(database, ids):
    told = await rows(database, callbacks)
    return {row.job_id for row in told if row.sync_status == "completed"} == set(ids)


def _signature(asked):
    signed = asked.headers["x-omma-timestamp"].encode() + b"." + asked.body
    return f"sha256={hmac.digest(SECRET.encode(), signed, 'sha256').hex()}"
