"""What a server does at its first start where there is no index: by the source of its cards."""

import pytest

from deployments.nightly import nightly_chores
from deployments.records import open_records
from omma.settings import Settings


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
