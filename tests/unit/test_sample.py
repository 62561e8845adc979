"""The sample that comes with omma: its pictures and table, and that its index is theirs."""

import cv2
import numpy as np
import pytest

from benchmarks.drawing import draw_card, sample_specs
from benchmarks.sample import CARDS, SEED, sides
from omma.domain.cards import ItemId, RecogniseOptions
from omma.domain.indexes import SnapshotState
from omma.engines.cards import SiftCardEngines
from omma.engines.cards.files import Head, IndexFiles
from omma.services.assembling import read_contents
from omma.services.shipped import ShippedIndex, ShippedPorts
from omma.stores.cards.sample import INDEX, SAMPLE, open_sample
from omma.stores.folders import FolderBlobs
from omma.stores.snapshots import BlobSnapshotFiles
from tests.index_fakes import MemoryCardRecords, MemorySnapshots
from tests.job_fakes import MemoryJobs


async def read(source):
    return [card async for chunk in source.cards(SAMPLE) for card in chunk]


@pytest.fixture(scope="module")
def files():
    return IndexFiles(INDEX)


def pixels(path):
    return cv2.imread(str(path))[..., ::-1]


async def test_the_sample_has_reprints_and_a_card_of_two_sides():
    cards = await read(open_sample())

    arts = [each.illustration for card in cards for each in card.faces]
    assert len(cards) == len({card.card_id for card in cards}) == 40
    assert len(set(arts)) < len(arts)
    assert {len(card.faces) for card in cards} == {1, 2}
    assert (await open_sample().plan()).faces == len(arts) == 41


async def test_its_table_names_the_cards_that_are_drawn():
    cards = await read(open_sample())

    told = [(card.card_id, card.name.partition(" // ")[0], len(card.faces)) for card in cards]
    specs = sample_specs(CARDS, SEED)
    assert told == [(spec.card_id, spec.name, len(sides(spec))) for spec in specs]


@pytest.mark.parametrize("number", [0, 1, 25])
def test_its_pictures_are_what_is_drawn(number):
    for name, side in sides(sample_specs(CARDS, SEED)[number]).items():
        apart = cv2.absdiff(pixels(SAMPLE / name), draw_card(side))

        assert apart.mean() < 6  # of 255: WebP loses as much


async def test_its_index_holds_every_picture_and_what_is_seen_of_it_today(files):
    """Another machine's arithmetic may see a point more or less, another engine all of them."""
    source, engines = open_sample(), SiftCardEngines()
    items = [
        (ItemId(card.card_id, face.number), face)
        for card in await read(source)
        for face in card.faces
    ]

    assert files.items == [item for item, _ in items]
    assert files.illustrations == [face.illustration for _, face in items]
    assert sorted(files.items) == read_contents(INDEX)
    for number in range(0, len(items), 5):
        seen = engines.extract(await source.image(items[number][1]))
        kept = {each.tobytes() for each in files.descriptors(files.rows(number))}
        found = {np.ascontiguousarray(each, np.uint8).tobytes() for each in seen.descriptors}
        assert (seen.width_px, seen.height_px) == tuple(files.sizes[number])
        assert len(kept & found) > 0.9 * max(len(kept), len(found))
        assert len(files.look(number)) > 0


def test_its_cards_are_found_in_its_index():
    engine = SiftCardEngines().open(INDEX, version="v1")
    names = ["nox-3.webp", "emb-2-back.webp"]

    answers = engine.recognise(
        [pixels(SAMPLE / name) for name in names], RecogniseOptions(max_cards=1, is_crop=True)
    )

    assert [answer.matches[0].item for answer in answers] == [ItemId("nox-3"), ItemId("emb-2", 1)]


@pytest.fixture
def shipped(tmp_path):
    """The index that ships, and the stores that it is published to."""
    snapshots, cards = MemorySnapshots(), MemoryCardRecords()
    files = BlobSnapshotFiles(FolderBlobs(tmp_path / "blobs"), tmp_path / "cache")
    ports = ShippedPorts(open_sample(), cards, snapshots, files, MemoryJobs().leases)
    form = SiftCardEngines().index_form
    return ShippedIndex(ports, INDEX, Head.read(INDEX).stats, index_form=form), ports


async def test_it_is_published_whole_without_anything_being_built(shipped):
    index, ports = shipped

    await index.publish()

    [snapshot] = await ports.snapshots.listed("cards")
    folder = await ports.files.fetch("cards", snapshot.version)
    assert snapshot.state is SnapshotState.PUBLISHED
    assert (snapshot.report["source"], snapshot.stats.items) == ("sample", 41)
    assert (folder / "codes.faiss").read_bytes() == (INDEX / "codes.faiss").read_bytes()
    assert snapshot.stats.size_bytes == sum(path.stat().st_size for path in INDEX.iterdir())
    assert (await ports.cards.count())[0] == 40


async def test_it_takes_the_place_of_a_snapshot_that_was_lost(shipped):
    index, ports = shipped
    await index.publish()
    before = await ports.snapshots.published("cards")
    await ports.files.delete("cards", before.version)

    await index.publish()

    after = await ports.snapshots.published("cards")
    assert after.sequence > before.sequence
    assert after.version in await ports.files.stored("cards")
