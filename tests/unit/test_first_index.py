"""What a server does at its first start where there is no index: by the source of its cards."""

import pytest

from deployments import first_index
from deployments.first_index import awaited_index, publish_shipped
from deployments.instance import Instance
from deployments.nightly import nightly_chores
from deployments.reaping import itself
from deployments.records import open_records
from deployments.speech import ready_message
from omma.settings import Settings
from tests.scryfall_server import Scryfall


@pytest.fixture
async def first(tmp_path):
    """Runs the chore of the first index with settings; what it submitted, and what is published."""
    opened = []

    async def run(source, **indexes):
        settings = Settings(home=tmp_path, cards={"source": source}, indexes=indexes)
        records = await open_records(settings)
        opened.append(records)
        submitted = []

        async def submit(operation, params, key):
            submitted.append((operation, params, key.partition(":")[0]))

        chores = {each.name: each for each in nightly_chores(settings, records, submit)}
        if "first-index" in chores:
            await chores["first-index"].run()
        published = await records.snapshots.published("cards")
        return submitted, published and published.sequence

    yield run
    for records in opened:
        await records.close()


async def test_the_index_of_the_sample_is_published_as_it_comes(first):
    assert await first({"type": "sample"}) == ([], 1)


async def test_a_folder_is_indexed(first):
    folder = {"type": "folder", "folder": "pictures"}

    assert await first(folder) == ([("index_rebuild", {}, "first")], None)


async def test_a_bundle_goes_before_the_sample(first):
    submitted, published = await first({"type": "sample"}, bundle_url="https://x.test/a.zip")

    assert submitted == [("index_rebuild", {"bundle": "https://x.test/a.zip"}, "first")]
    assert published is None


@pytest.mark.parametrize("source", ["scryfall", "none"])
async def test_what_takes_hours_is_for_the_operator_to_begin(first, source):
    assert await first({"type": source}) == ([], None)


async def test_the_sample_is_published_before_replicas_look_and_once(tmp_path):
    settings = Settings(home=tmp_path)

    await publish_shipped(settings)
    await publish_shipped(settings)

    records = await open_records(settings)
    assert len(await records.snapshots.listed("cards")) == 1
    assert await awaited_index(settings) == ""
    await records.close()


async def test_a_start_says_what_the_first_index_of_scryfall_would_take(tmp_path):
    async with Scryfall() as scryfall:
        scryfall.add_sample(3)
        source = {"type": "scryfall", "url": scryfall.url, "bulk": "search:game:paper"}

        awaited = await awaited_index(Settings(home=tmp_path, cards={"source": source}))

    assert awaited == "about 3 cards, 0.0 GB, 0.0 hours"


async def test_a_start_does_not_wait_for_a_source_that_says_nothing(
    tmp_path, monkeypatch, unused_tcp_port
):
    monkeypatch.setattr(first_index, "ESTIMATE_S", 0.05)
    source = {"type": "scryfall", "url": f"http://127.0.0.1:{unused_tcp_port}"}

    awaited = await awaited_index(Settings(home=tmp_path, cards={"source": source}))

    assert awaited.startswith("it takes hours")


def test_the_command_is_in_what_is_said_when_the_server_is_ready():
    instance = Instance("/home", "mark", itself(), "c.yaml", "127.0.0.1", 8000)

    told, plain = (
        ready_message(instance, 9.0, 900.0, awaited) for awaited in ("about 9 cards", "")
    )

    assert "omma indexes rebuild cards` fetches them: about 9 cards\n" in told
    assert "rebuild" not in plain
