"""Every store of a process, opened from settings; where several nodes would not share them."""

import asyncio

import pytest
from sqlalchemy import update

from deployments.chores import all_chores
from deployments.records import open_records, prepare_records, require_shared
from omma.domain.errors import CannotStart
from omma.settings import (
    BlobSettings,
    BroadcastSettings,
    DatabaseSettings,
    MediaStoreSettings,
    Settings,
)
from omma.stores.media import FolderMediaStore, HttpMediaStore, NoMediaStore
from omma.stores.records.tables import batches


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, database=DatabaseSettings(url=f"sqlite:///{tmp_path}/omma.db"))


async def test_everything_opens_in_an_empty_home(settings):
    records = await open_records(settings)

    assert await records.queue.depth() == 0
    assert await records.files.disk_usage() == 0
    assert isinstance(records.media, NoMediaStore)
    await records.close()


async def test_every_chore_finds_nothing_to_do_in_an_empty_home(settings):
    records = await open_records(settings)

    done = {chore.name: await chore.run() for chore in all_chores(settings, records)}

    assert done == dict.fromkeys(("expire", "deliver", "post", "sweep", "prune", "abandon"), 0)
    await records.close()


async def test_events_are_published_where_a_broker_is_named(settings):
    broadcast = BroadcastSettings(type="mqtt")

    records = await open_records(settings.model_copy(update={"broadcast": broadcast}))

    assert "publish" in {chore.name for chore in all_chores(settings, records)}
    await records.close()


async def test_a_batch_whose_client_has_gone_is_abandoned(settings):
    records = await open_records(settings)
    await records.batches.open("b", "owner", "face_detection")
    async with records.database.write() as connection:
        await connection.execute(update(batches).values(created_at=0))

    [abandon] = [each for each in all_chores(settings, records) if each.name == "abandon"]

    assert await abandon.run() == 1
    assert await records.batches.get("b") is None
    await records.close()


async def test_many_that_start_at_once_migrate_once(settings):
    opened = await asyncio.gather(*(open_records(settings) for _ in range(4)))

    assert [await each.events.last() for each in opened] == [0] * 4
    for each in opened:
        await each.close()


@pytest.mark.parametrize(
    ("media", "kind"),
    [
        (MediaStoreSettings(url="http://media.example"), HttpMediaStore),
        (MediaStoreSettings(folder="media"), FolderMediaStore),
    ],
)
async def test_the_media_store_is_the_one_of_the_settings(settings, media, kind):
    records = await open_records(settings.model_copy(update={"media_store": media}))

    assert isinstance(records.media, kind)
    await records.close()


async def test_a_database_that_does_not_answer_is_named_without_its_password(settings):
    url = "postgresql://omma:geheim@127.0.0.1:9/omma"
    unreachable = DatabaseSettings(url=url, timeout_s=1)

    with pytest.raises(CannotStart, match=r"127\.0\.0\.1:9") as caught:
        await prepare_records(settings.model_copy(update={"database": unreachable}))

    assert "geheim" not in str(caught.value)


def test_one_node_may_have_everything_in_its_folder(settings):
    require_shared(settings, 1)


def test_several_nodes_need_a_database_that_all_reach(settings):
    with pytest.raises(CannotStart, match="SQLite"):
        require_shared(settings, 2)


def test_several_nodes_need_files_that_all_reach(settings):
    postgres = DatabaseSettings(url="postgresql://h/d")

    with pytest.raises(CannotStart, match="s3://"):
        require_shared(settings.model_copy(update={"database": postgres}), 2)


def test_several_nodes_with_shared_stores_may_start(settings):
    shared = {
        "database": DatabaseSettings(url="postgres://h/d"),
        "blobs": BlobSettings(url="s3://bucket"),
    }

    require_shared(settings.model_copy(update=shared), 3)
