"""`omma indexes import` and `export`, on stores of their own, and the places bundles lie at."""

import asyncio
import json
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import faiss
import numpy as np
import pytest
from typer.testing import CliRunner

from omma.cli.configured import configured
from omma.cli.indexes import app
from omma.domain.cards import Card, CardFace, CardId, Features, ItemFeatures, ItemId
from omma.domain.errors import IndexCorrupt, InvalidInput, MediaNotFound
from omma.domain.indexes import SnapshotState
from omma.engines.cards import SiftCardEngines
from omma.engines.cards.documented import write_documented_index
from omma.ports.cards import Extracted
from omma.stores.blobs import open_blobs
from omma.stores.bundle_places import open_bundle
from omma.stores.bundles import FEATURES, IDS, INDEX, BundleFeatures, write_bundle
from omma.stores.records import migrations
from omma.stores.records.cards import SqlCardRecords
from omma.stores.records.database import Database
from omma.stores.records.features import SqlFeatureLedger
from omma.stores.records.leases import SqlLeases
from omma.stores.records.snapshots import SqlSnapshots
from omma.stores.shards import ShardedFeatures, write_shard
from omma.stores.snapshots import BlobSnapshotFiles

CARDS = [ItemId(CardId(name), face) for name, face in (("a", 0), ("b", 0), ("b", 1))]
SHARD = "features/cards/one.h5"


def seen(item, keypoints=120):
    rng = np.random.default_rng([ord(item.card_id), item.face])
    points = rng.uniform(0, 250, (keypoints, 4)).astype(np.float32)
    descriptors = rng.integers(0, 90, (keypoints, 128), np.uint8)
    return ItemFeatures(item, Features(points, descriptors, 256, 256))


@pytest.fixture
def shard(tmp_path):
    write_shard(tmp_path / "one.h5", [seen(item) for item in CARDS])
    return tmp_path / "one.h5"


@pytest.fixture
def features(shard):
    return ShardedFeatures([(shard, CARDS)])


@pytest.fixture
def bundle(tmp_path, features):
    write_bundle(tmp_path / "bundle", features, image_urls={})
    return tmp_path / "bundle"


@pytest.fixture
def packed(tmp_path, bundle):
    with zipfile.ZipFile(tmp_path / "nightly.zip", "w") as file:
        for each in bundle.iterdir():
            file.write(each, f"resources/{each.name}")
    return tmp_path / "nightly.zip"


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("DATABASE_URL", "OMMA_BLOBS__URL", "OMMA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def run(home):
    def run(*arguments):
        return CliRunner().invoke(app, [*map(str, arguments), "--home", str(home)])

    return run


def within(home, work):
    """What ``work`` answers, of the database and the settings of that home."""
    settings = configured(home=home)

    async def connected():
        database = Database(settings.database_url, timeout_s=10)
        try:
            await migrations.upgrade(database)
            return await work(database, settings)
        finally:
            await database.close()

    return asyncio.run(connected())


async def served(database, settings):
    """The published snapshot and what its files open to."""
    snapshots = await SqlSnapshots(database).listed("cards")
    published = await SqlSnapshots(database).published("cards")
    files = BlobSnapshotFiles(open_blobs(settings.blobs_url), settings.work_dir / "snapshots")
    folder = await files.fetch("cards", published.version)
    engine = SiftCardEngines().open(folder, version=published.version)
    try:
        return snapshots, published, engine.stats
    finally:
        engine.close()


def test_a_bundle_becomes_the_published_snapshot(run, home, bundle):
    left = home / "indexes" / "import" / "20260101T000000Z-killed"
    left.mkdir(parents=True)

    result = run("import", "cards", bundle)

    assert result.exit_code == 0, result.output
    [snapshot], published, stats = within(home, served)
    assert (snapshot.version, snapshot.state) == (published.version, SnapshotState.PUBLISHED)
    assert (snapshot.report["source"], stats.items, stats.vectors) == ("bundle", 3, 360)
    assert snapshot.stats.size_bytes > 0
    assert f"published {published.version}" in result.stdout
    assert result.stderr.splitlines() == ["assembly", "publication of 3 pictures"]
    assert not list((home / "indexes" / "import").iterdir())


def test_the_next_import_takes_the_place_of_the_one_before(run, home, bundle, packed):
    run("import", "cards", bundle)
    result = run("import", "cards", packed)

    assert result.exit_code == 0, result.output
    snapshots, published, _ = within(home, served)
    assert [each.state for each in snapshots] == [SnapshotState.PUBLISHED, SnapshotState.RETIRED]
    assert published.sequence == 2


def test_of_snapshots_that_imports_made_only_some_are_kept(run, home, bundle, monkeypatch):
    monkeypatch.setenv("OMMA_INDEXES__KEEP", "1")

    for _ in range(3):
        assert run("import", "cards", bundle).exit_code == 0

    snapshots, published, _ = within(home, served)
    stored = sorted(each.name for each in (home / "blobs" / "indexes" / "cards").iterdir())
    assert [each.state for each in snapshots] == [SnapshotState.PUBLISHED, SnapshotState.RETIRED]
    assert published.sequence == 3
    assert sorted(each.version for each in snapshots) == stored


def test_nothing_is_imported_while_the_index_is_rebuilt(run, home, bundle):
    async def hold(database, _settings):
        await SqlLeases(database).acquire("rebuild:cards", "node-7", ttl_s=60)

    within(home, hold)

    result = run("import", "cards", bundle)

    assert result.exit_code == 1
    assert "node-7" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("import", "cards", "nowhere.zip"), ("export", "cards", "out")]
)
def test_what_cannot_be_done_is_said_in_one_line(run, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = run(*arguments)

    assert result.exit_code == 1
    assert [line.startswith("error: ") for line in result.stderr.splitlines()][-1]
    assert result.stderr.count("error") == 1
    assert not (tmp_path / "out").exists()


def test_nothing_is_exported_over_what_is_there(run, tmp_path):
    (tmp_path / "there").mkdir()

    result = run("export", "cards", tmp_path / "there")

    assert result.exit_code == 2
    assert not list((tmp_path / "there").iterdir())


def test_features_of_a_rebuild_are_exported_with_index_ids_and_urls(run, home, shard):
    async def fill(database, settings):
        url = "https://cards.example/{}.png"
        faces = {"a": [0], "b": [0, 1]}
        cards = [
            Card(
                CardId(card_id),
                name=card_id,
                faces=tuple(
                    CardFace(number, card_id, url.format(card_id), "k") for number in numbers
                ),
            )
            for card_id, numbers in faces.items()
        ]
        await SqlCardRecords(database).upsert(cards, seen_in="p")
        await open_blobs(settings.blobs_url).put_file(SHARD, shard)
        rows = [Extracted(item, "k", shard=SHARD, keypoints=120) for item in CARDS]
        await SqlFeatureLedger(database).record(SiftCardEngines().features_key, rows)

    within(home, fill)
    result = run("export", "cards", home.parent / "out.zip")

    assert result.exit_code == 0, result.output
    assert "3 pictures" in result.stdout
    zipfile.ZipFile(home.parent / "out.zip").extractall(target := home.parent / "unpacked")
    assert {each.name for each in target.iterdir()} == {FEATURES, INDEX, IDS}
    found = BundleFeatures(target / FEATURES)
    assert found.items == CARDS
    ids = json.loads((target / IDS).read_text())
    assert ids == ["a"] * 120 + ["b"] * 240
    assert faiss.read_index(str(target / INDEX)).ntotal == len(ids)


def test_the_documented_index_finds_the_rows_it_was_given(tmp_path, features):
    write_documented_index(features, tmp_path / INDEX)

    index = faiss.read_index(str(tmp_path / INDEX))
    rows = np.concatenate([each.features.descriptors for each in features.read()])
    _, found = index.search(rows[::40] / np.float32(512), 1)
    assert (index.d, index.ntotal, index.pq.M, index.nprobe) == (128, 360, 8, 10)
    assert (found[:, 0] == np.arange(0, 360, 40)).mean() > 0.8


def test_too_few_descriptors_make_no_index(tmp_path):
    write_shard(tmp_path / "few.h5", [seen(CARDS[0], 10)])

    with pytest.raises(InvalidInput, match="at least 256"):
        write_documented_index(
            ShardedFeatures([(tmp_path / "few.h5", CARDS[:1])]), tmp_path / INDEX
        )


@pytest.mark.parametrize("place", ["folder", "file", "zip"])
async def test_bundles_are_found_in_folders_files_and_zips(tmp_path, bundle, packed, place):
    where = {"folder": bundle, "file": bundle / FEATURES, "zip": packed}[place]
    (tmp_path / "work").mkdir()

    found = await open_bundle(str(where), tmp_path / "work", downloads=tmp_path / "downloads")

    assert found.items == CARDS


async def test_a_bundle_at_a_url_is_fetched(tmp_path, packed, serve_file):
    (tmp_path / "work").mkdir()

    found = await open_bundle(
        serve_file(packed), tmp_path / "work", downloads=tmp_path / "downloads"
    )

    assert found.items == CARDS


async def test_a_zip_without_features_is_no_bundle_and_is_not_kept(tmp_path, serve_file):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("readme.txt", "nothing")

    with pytest.raises(IndexCorrupt, match="expected one"):
        await open_bundle(
            serve_file(tmp_path / "other.zip"), tmp_path, downloads=tmp_path / "downloads"
        )

    assert not list((tmp_path / "downloads").glob("*.data"))


async def test_a_broken_zip_is_corrupt(tmp_path, packed):
    data = bytearray(packed.read_bytes())
    data[200:260] = bytes(60)
    packed.write_bytes(data)

    with pytest.raises(IndexCorrupt):
        await open_bundle(str(packed), tmp_path, downloads=tmp_path / "downloads")


async def test_a_bundle_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(MediaNotFound):
        await open_bundle(str(tmp_path / "nothing"), tmp_path, downloads=tmp_path)


@pytest.fixture
def serve_file():
    """The URL at which a file is served."""
    servers = []

    def serve_file(path):
        handler = partial(QuietHandler, directory=str(path.parent))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/{path.name}"

    yield serve_file
    for server in servers:
        server.shutdown()
        server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        del arguments
