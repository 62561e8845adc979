"""Bundles of the documented layout, ours and others', honest and not."""

import json
import zipfile

import h5py
import numpy as np
import pytest

from omma.domain.cards import CardId, Features, ItemFeatures, ItemId
from omma.domain.errors import (
    IndexCorrupt,
    InvalidInput,
    MediaNotFound,
    SourceCorrupt,
    TooManyBytes,
)
from omma.stores import bundle_places
from omma.stores.bundle_places import open_bundle, pack_bundle
from omma.stores.bundles import FEATURES, IDS, INDEX, BundleFeatures, write_bundle
from omma.stores.shards import ShardedFeatures, write_shard
from tests.sites import Site, answer, running

CARD = "0000579f-7b35-4ed3-b44c-db2a538066fe"


def seen(card_id, *, face=0, keypoints=3):
    rng = np.random.default_rng([len(card_id), face, keypoints])
    points = rng.uniform(0, 400, (keypoints, 4)).astype(np.float32)
    descriptors = rng.integers(0, 256, (keypoints, 128), np.uint8)
    return ItemFeatures(ItemId(CardId(card_id), face), Features(points, descriptors, 366, 512))


def reader(folder, *items):
    write_shard(folder / "shard.h5", items)
    return ShardedFeatures([(folder / "shard.h5", [each.item for each in items])])


def told(count):
    """Keypoints as the original system writes them."""
    return json.dumps([
        {"pt": [10.5 + n, 20.0], "size": 3.5, "angle": 90.0, "response": 0.04, "octave": 1,
         "class_id": -1} for n in range(count)
    ])  # fmt: skip


def roots(count):
    raw = np.random.default_rng(count).random((count, 128), np.float32)
    return np.sqrt(raw / raw.sum(axis=1, keepdims=True)).astype(np.float16)


def add_card(file, card_id=CARD, name="feature_0", **changes):
    columns = {"descriptors": roots(4), "keypoints": told(4)} | changes
    group = file.require_group(card_id).create_group(name)
    for column, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim:
            group.create_dataset(column, data=values, compression="gzip")
        else:
            group.create_dataset(column, data=values)
    group.attrs["image_url"] = "https://cards.example/front.png"


@pytest.fixture
def bundle(tmp_path):
    """One that the original system might have written."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    with h5py.File(folder / FEATURES, "w") as file:
        add_card(file)
        add_card(file, "00006596-1166-4a79-8443-ca9f82e6db4e")
    (folder / INDEX).write_bytes(b"IwPQ")
    (folder / IDS).write_text(json.dumps([CARD] * 4))
    return folder


def test_a_documented_bundle_is_read(bundle):
    found = BundleFeatures(bundle / FEATURES)

    assert [each.card_id for each in found.items] == [CARD, "00006596-1166-4a79-8443-ca9f82e6db4e"]
    first = next(iter(found.read()))
    assert (first.item, first.features.width_px, first.features.height_px) == (
        ItemId(CardId(CARD), 0),
        256,
        256,
    )
    np.testing.assert_array_equal(first.features.keypoints[1], [11.5, 20, 3.5, 90])
    expected = np.rint(roots(4).astype(np.float32) * 512)
    np.testing.assert_array_equal(first.features.descriptors, expected)


def test_keypoints_in_an_array_of_one_text_are_read(tmp_path):
    with h5py.File(tmp_path / FEATURES, "w") as file:
        add_card(file, keypoints=np.array([told(4)], dtype=object))

    [item] = BundleFeatures(tmp_path / FEATURES).read()

    assert len(item.features.keypoints) == 4


def test_pictures_of_others_bundles_are_faces_in_their_order(tmp_path):
    with h5py.File(tmp_path / FEATURES, "w") as file:
        add_card(file, name="feature_10")
        add_card(file, name="feature_9", descriptors=roots(2), keypoints=told(2))

    front, back = BundleFeatures(tmp_path / FEATURES).read()

    assert (front.item.face, len(front.features.descriptors)) == (0, 2)
    assert (back.item.face, len(back.features.descriptors)) == (1, 4)


def test_what_is_exported_is_imported(tmp_path):
    items = [seen("a"), seen("b", face=1), seen("c", keypoints=0)]

    write_bundle(tmp_path / "out", reader(tmp_path, *items), image_urls={})

    found = BundleFeatures(tmp_path / "out" / FEATURES)
    assert len(found) == 3
    for one, other in zip(found.read(), items, strict=True):
        assert one.item == other.item
        np.testing.assert_array_equal(one.features.descriptors, other.features.descriptors)
        np.testing.assert_array_equal(one.features.keypoints, other.features.keypoints)


def test_an_export_has_the_documented_layout(tmp_path):
    items = reader(tmp_path, seen("a"), seen("b", keypoints=2))
    urls = {ItemId(CardId("a")): "https://cards.example/a.png"}

    def write_index(given, path):
        path.write_bytes(b"%d items" % len(given))

    write_bundle(tmp_path / "out", items, image_urls=urls, write_index=write_index)

    assert json.loads((tmp_path / "out" / IDS).read_text()) == ["a", "a", "a", "b", "b"]
    assert (tmp_path / "out" / INDEX).read_bytes() == b"2 items"
    with h5py.File(tmp_path / "out" / FEATURES) as file:
        group = file["a"]["feature_0"]
        assert (group["descriptors"].dtype, group["descriptors"].compression) == ("f2", "gzip")
        [point, *_] = json.loads(group["keypoints"][()])
        assert set(point) == {"pt", "size", "angle", "response", "octave", "class_id"}
        assert group.attrs["image_url"] == "https://cards.example/a.png"


def test_an_id_that_hdf5_takes_for_a_path_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="slash"):
        write_bundle(tmp_path / "out", reader(tmp_path, seen("a/b")), image_urls={})

    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"descriptors": roots(3)},
        {"descriptors": roots(4)[:, :64]},
        {"descriptors": roots(4) * 40},
        {"descriptors": roots(4) * np.float16("nan")},
        {"keypoints": "[{}]"},
        {"keypoints": "no json"},
        {"keypoints": told(4).replace("10.5", "NaN")},
        {"keypoints": np.zeros(4)},
    ],
)
def test_features_that_are_none_are_refused(tmp_path, changes):
    with h5py.File(tmp_path / FEATURES, "w") as file:
        add_card(file, **changes)

    with pytest.raises(IndexCorrupt):
        list(BundleFeatures(tmp_path / FEATURES).read())


def as_bytes(group):
    group.create_dataset("descriptors", data=roots(4))
    group.create_dataset("keypoints", (10**12,), "u1", chunks=(1 << 20,))


def of_long_texts(group):
    group.create_dataset("descriptors", data=roots(4))
    group.create_dataset("keypoints", (1,), "S1000000000", chunks=(1,))


def of_many_texts(group):
    group.create_dataset("descriptors", data=roots(4))
    group.create_dataset("keypoints", (10**9,), h5py.string_dtype(), chunks=(1 << 16,))


def of_wide_rows(group):
    group.create_dataset("descriptors", (4, 128), "S1000000", chunks=(1, 1))
    group.create_dataset("keypoints", data=told(4))


def in_vast_chunks(group):
    chunks, most = (1 << 20, 128), (None, 128)
    group.create_dataset("descriptors", (4, 128), "f4", chunks=chunks, maxshape=most)
    group.create_dataset("keypoints", data=told(4))


@pytest.mark.parametrize(
    "damage", [as_bytes, of_long_texts, of_many_texts, of_wide_rows, in_vast_chunks]
)
def test_what_would_fill_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch, damage):
    with h5py.File(tmp_path / FEATURES, "w") as file:
        damage(file.create_group(f"{CARD}/feature_0"))

    def read(dataset, _part):
        raise AssertionError(dataset)

    found = BundleFeatures(tmp_path / FEATURES)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)

    with pytest.raises(IndexCorrupt, match=r"expected|too much"):
        list(found.read())


def test_keypoints_that_do_fill_the_memory_are_told(tmp_path, monkeypatch):
    with h5py.File(tmp_path / FEATURES, "w") as file:
        add_card(file)
    found = BundleFeatures(tmp_path / FEATURES)

    def read(_dataset, _part):
        raise MemoryError

    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)

    with pytest.raises(IndexCorrupt, match="memory"):
        list(found.read())


@pytest.mark.parametrize("kind", ["link", "soft", "external", "virtual"])
def test_nothing_in_a_bundle_leads_to_other_files(tmp_path, bundle, kind):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4 * 128 * 2))
    path = tmp_path / FEATURES
    with h5py.File(path, "w") as file:
        group = file.create_group(f"{CARD}/feature_0")
        group["keypoints"] = told(4)
        if kind == "link":
            group["descriptors"] = h5py.ExternalLink(
                bundle / FEATURES, f"{CARD}/feature_0/descriptors"
            )
        elif kind == "soft":
            group["descriptors"] = h5py.SoftLink("/elsewhere")
        elif kind == "external":
            external = [(str(secret), 0, h5py.h5f.UNLIMITED)]
            group.create_dataset("descriptors", (4, 128), "f2", external=external)
        else:
            layout = h5py.VirtualLayout((4, 128), "f2")
            layout[:] = h5py.VirtualSource(
                bundle / FEATURES, f"{CARD}/feature_0/descriptors", (4, 128)
            )
            group.create_virtual_dataset("descriptors", layout)

    with pytest.raises(IndexCorrupt, match=r"link|another file"):
        list(BundleFeatures(path).read())


def test_an_empty_bundle_is_none(tmp_path):
    h5py.File(tmp_path / FEATURES, "w").close()

    with pytest.raises(IndexCorrupt, match="no features"):
        BundleFeatures(tmp_path / FEATURES)


# Where they lie


async def test_a_folder_and_a_zip_are_the_same_bundle(bundle, tmp_path):
    pack_bundle(bundle, tmp_path / "bundle.zip")

    packed = await open_bundle(str(tmp_path / "bundle.zip"), tmp_path / "work", downloads=tmp_path)

    plain = await open_bundle(f"file://{bundle}", tmp_path / "work", downloads=tmp_path)
    assert packed.items == plain.items
    assert [each.name for each in (tmp_path / "work").iterdir()] == [FEATURES]


@pytest.mark.parametrize("name", ["../../candidate_features.h5", "/root/candidate_features.h5"])
async def test_a_zip_does_not_say_where_its_files_go(bundle, tmp_path, name):
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as zipped:
        zipped.write(bundle / FEATURES, name)

    await open_bundle(str(tmp_path / "bundle.zip"), tmp_path / "work", downloads=tmp_path)

    assert [each.name for each in (tmp_path / "work").iterdir()] == [FEATURES]
    assert not (tmp_path / FEATURES).exists()


def without_features(path):
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("readme.txt", "hello")


def with_another_sum(path):
    data = bytearray(path.read_bytes())
    data[200] ^= 255  # in the stored features
    path.write_bytes(data)


def of_html(path):
    path.write_text("<html>")


@pytest.mark.parametrize("damage", [without_features, with_another_sum, of_html])
async def test_what_is_no_bundle_is_told(bundle, tmp_path, damage):
    path = tmp_path / "bundle.zip"
    pack_bundle(bundle, path)

    damage(path)

    with pytest.raises(IndexCorrupt):
        await open_bundle(str(path), tmp_path / "work", downloads=tmp_path)
    assert not list((tmp_path / "work").glob("*"))


async def test_features_larger_than_the_disk_are_not_unpacked(bundle, tmp_path, monkeypatch):
    pack_bundle(bundle, tmp_path / "bundle.zip")
    monkeypatch.setattr(bundle_places, "MAX_BYTES", 100)

    with pytest.raises(TooManyBytes, match="at most 100"):
        await open_bundle(str(tmp_path / "bundle.zip"), tmp_path, downloads=tmp_path)


async def test_a_place_with_nothing_is_told(tmp_path):
    with pytest.raises(MediaNotFound, match="no bundle"):
        await open_bundle(str(tmp_path / "none.zip"), tmp_path, downloads=tmp_path)


@pytest.mark.parametrize("place", ["/resources.zip", "/bundle/"])
async def test_a_bundle_of_the_web_is_fetched_once(bundle, tmp_path, place):
    pack_bundle(bundle, tmp_path / "bundle.zip")
    kept = {"etag": '"1"', "connection": "close"}
    site = Site()
    site.answers = {
        "/resources.zip": answer(body=(tmp_path / "bundle.zip").read_bytes(), **kept),
        f"/bundle/{FEATURES}": answer(body=(bundle / FEATURES).read_bytes(), **kept),
    }
    async with running(site):
        first = await open_bundle(site.url + place, tmp_path / "work", downloads=tmp_path / "web")
        site.default = answer("304 Not Modified", connection="close")
        site.answers = {}
        again = await open_bundle(site.url + place, tmp_path / "work", downloads=tmp_path / "web")

    assert again.items == first.items
    assert site.asked[1].headers["if-none-match"] == '"1"'


async def test_a_page_in_the_place_of_a_bundle_is_not_kept(tmp_path):
    site = Site(default=answer(body=b"<html>", etag='"1"', connection="close"))
    async with running(site):
        with pytest.raises(IndexCorrupt):
            await open_bundle(f"{site.url}/x.zip", tmp_path / "work", downloads=tmp_path / "web")

    assert not list((tmp_path / "web").iterdir())


async def test_a_url_that_leads_astray_is_told(tmp_path):
    elsewhere = answer("302 Found", location="http://elsewhere.example/", connection="close")
    async with running(Site(default=elsewhere)) as site:
        with pytest.raises(SourceCorrupt, match="https"):
            await open_bundle(f"{site.url}/x.zip", tmp_path, downloads=tmp_path)
