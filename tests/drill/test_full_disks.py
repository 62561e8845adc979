"""The disk is full for a while: jobs wait or are tried again, and the error says why."""

import asyncio

import pytest

from tests.databases import opened
from tests.drill.small_disks import small_disk
from tests.drill.team import at_work, expect_refusal, media, submitted, upload
from tests.drill.verdict import all_ended, each_ended_once, eventually, failures

__all__ = ["small_disk"]

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]


@pytest.fixture
def media_folder(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    for number in range(200):
        (folder / f"m{number}.jpg").write_bytes(b"media %d" % number)
    return folder


async def test_jobs_wait_while_the_disk_of_the_files_is_full(
    tmp_path, sqlite_url, media_folder, small_disk
):
    settings = {
        "DATABASE__URL": sqlite_url,
        "BLOBS__URL": small_disk.folder,
        "MEDIA_STORE__FOLDER": media_folder,
    }
    with at_work(tmp_path, settings, runners=2) as team:
        async with team.client() as client, opened(sqlite_url) as database:
            small_disk.fill()
            refusal = await client.post("/job/checksum", **upload(0))
            ids = await submitted(client, map(media, range(30)))
            failed = await eventually(lambda: failures(database, "store_full"))
            small_disk.clear()
            ids += await submitted(client, [upload(0)])
            await all_ended(database)
            await each_ended_once(database, ids)

    expect_refusal(refusal, "store_full")
    assert set(failed) <= set(ids)


async def test_a_job_that_found_no_room_says_so_and_is_retried_when_there_is_some(
    tmp_path, sqlite_url, media_folder, small_disk
):
    settings = {
        "DATABASE__URL": sqlite_url,
        "BLOBS__URL": small_disk.folder,
        "MEDIA_STORE__FOLDER": media_folder,
        "JOBS__PATIENCE_S": 2,
    }
    with at_work(tmp_path, settings, runners=1) as team:
        async with team.client() as client, opened(sqlite_url) as database:
            small_disk.fill()
            [job_id] = await submitted(client, [media(0)])
            await all_ended(database)
            defeated = (await client.get(f"/job/{job_id}")).json()
            small_disk.clear()
            await client.post(f"/job/{job_id}/retry")
            await all_ended(database)
            done = (await client.get(f"/job/{job_id}")).json()

    assert (defeated["status"], defeated["error_code"]) == ("error", "store_full")
    assert "no room left" in defeated["error_message"]
    assert (done["status"], done["error_code"]) == ("completed", None)


async def test_jobs_wait_while_the_disk_of_the_database_is_full(media_folder, small_disk):
    home = small_disk.folder
    url = f"sqlite:///{home / 'omma.db'}"
    settings = {"DATABASE__URL": url, "MEDIA_STORE__FOLDER": media_folder}
    with at_work(home, settings, runners=2) as team:
        async with team.client() as client, opened(url) as database:
            ids = await submitted(client, map(media, range(30)))
            small_disk.fill()
            accepted, refusal = await _until_refused(client)
            read = await client.get("/jobs")
            await asyncio.sleep(5)  # longer than leases last
            small_disk.clear()
            ids += accepted + await submitted(client, [upload(0)])
            await all_ended(database)
            await each_ended_once(database, ids)

    expect_refusal(refusal, "store_full")
    assert read.status_code == 200  # to look takes no room


async def _until_refused(client):
    """What was still taken in, and the first refusal: a log that was full before has room."""
    ids = []
    for number in range(30, 200):
        answer = await client.post("/job/checksum", **media(number))
        if answer.status_code != 201:
            return ids, answer
        ids.append(answer.json()["job_id"])
    pytest.fail("the disk was never full")
