"""Bundles and snapshots that were damaged at random: refused by a name, or as they were."""

import random
import zipfile

import numpy as np
import pytest

from omma.domain.cards import CardId, Features, ItemFeatures, ItemId
from omma.domain.errors import OmmaError
from omma.stores.bundle_places import open_bundle, pack_bundle
from omma.stores.bundles import FEATURES, write_bundle
from omma.stores.folders import FolderBlobs
from omma.stores.shards import ShardedFeatures, write_shard
from omma.stores.snapshots import BlobSnapshotFiles

MUTANTS = 150  # of each kind


def mutant(data, seed):
    """``data`` with bits turned, bytes gone, bytes between, or other bytes."""
    rng, spoiled = random.Random(seed), bytearray(data)  # noqa: S311  no secret
    at, many = rng.randrange(len(data)), rng.randrange(1, 48)
    match rng.randrange(5):
        case 0:
            spoiled[at] ^= 1 << rng.randrange(8)
        case 1:
            del spoiled[at:]
        case 2:
            del spoiled[at : at + many]
        case 3:
            spoiled[at:at] = rng.randbytes(many)
        case _:
            spoiled[at : at + many] = rng.randbytes(many)
    return bytes(spoiled)


@pytest.fixture
def items():
    rng = np.random.default_rng(0)
    sizes = {ItemId(CardId("a")): 3, ItemId(CardId("b"), 1): 3, ItemId(CardId("c")): 20}
    return [
        ItemFeatures(
            item,
            Features(
                rng.uniform(0, 400, (count, 4)).astype(np.float32),
                rng.integers(0, 256, (count, 128), np.uint8),
                366,
                512,
            ),
        )
        for item, count in sizes.items()
    ]


@pytest.fixture
def bundles(tmp_path, items):
    """The same features as a file, as a zip, and as a zip that is compressed."""
    write_shard(tmp_path / "shard.h5", items)
    features = ShardedFeatures([(tmp_path / "shard.h5", [each.item for each in items])])
    write_bundle(tmp_path / "bundle", features, image_urls={})
    pack_bundle(tmp_path / "bundle", tmp_path / "stored.zip")
    with zipfile.ZipFile(tmp_path / "small.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.write(tmp_path / "bundle" / FEATURES, f"resources/{FEATURES}")
    return tmp_path


async def read(place, work):
    """Everything of a bundle; None for one that is refused."""
    try:
        return list((await open_bundle(str(place), work, downloads=work)).read())
    except OmmaError:
        return None


def are_alike(found, items):
    return all(
        one.item == other.item
        and np.array_equal(one.features.descriptors, other.features.descriptors)
        and np.array_equal(one.features.keypoints, other.features.keypoints)
        for one, other in zip(found, items, strict=True)
    )


@pytest.mark.parametrize("name", ["stored.zip", "small.zip"])
async def test_a_zip_that_was_damaged_is_refused_or_gives_what_it_held(bundles, items, name):
    whole, spoiled = (bundles / name).read_bytes(), bundles / "mutant.zip"
    refused = 0

    for seed in range(MUTANTS):
        spoiled.write_bytes(mutant(whole, seed))
        found = await read(spoiled, bundles / "work")
        refused += found is None
        assert found is None or are_alike(found, items), seed

    assert refused > MUTANTS / 2


async def test_of_features_without_a_zip_no_damage_is_told_in_another_way(bundles):
    """They have no checksum of their own: a number may be another one."""
    whole, spoiled = (bundles / "bundle" / FEATURES).read_bytes(), bundles / "mutant.h5"
    refused = 0

    for seed in range(MUTANTS):
        spoiled.write_bytes(mutant(whole, seed))
        refused += await read(spoiled, bundles / "work") is None

    assert refused > MUTANTS / 3


async def test_a_snapshot_that_was_damaged_is_refused_or_as_it_was(tmp_path):
    built = {"codes.faiss": b"codes" * 40, "items.json": b'{"card_ids": []}'}
    (tmp_path / "built").mkdir()
    for name, data in built.items():
        (tmp_path / "built" / name).write_bytes(data)
    blobs = FolderBlobs(tmp_path / "blobs")
    await BlobSnapshotFiles(blobs, tmp_path / "cache").put("cards", "v1", tmp_path / "built")
    names, refused = [*built, "manifest.json"], 0

    for seed in range(MUTANTS):
        place = tmp_path / "blobs" / "indexes" / "cards" / "v1" / names[seed % len(names)]
        whole = place.read_bytes()
        place.unlink()  # another file: copies are links
        place.write_bytes(mutant(whole, seed))
        try:
            copy = await BlobSnapshotFiles(blobs, tmp_path / f"{seed}").fetch("cards", "v1")
        except OmmaError:
            refused += 1
        else:
            assert {name: (copy / name).read_bytes() for name in built} == built, seed
        place.unlink()
        place.write_bytes(whole)

    assert refused > MUTANTS / 2
