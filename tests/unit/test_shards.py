"""Features in shards: what was written is what is read, and nothing broken passes for it."""

import h5py
import numpy as np
import pytest

from omma.domain.cards import CardId, Features, ItemFeatures, ItemId
from omma.domain.errors import IndexCorrupt
from omma.stores import shards
from omma.stores.shards import ShardedFeatures, read_shard, write_shard


def seen(card_id, *, face=0, keypoints=3, regions=b"", illustration=""):
    rng = np.random.default_rng([len(card_id), face, keypoints])
    features = Features(
        rng.uniform(0, 400, (keypoints, 4)).astype(np.float32),
        rng.integers(0, 256, (keypoints, 128), np.uint8),
        366,
        512,
        regions,
    )
    return ItemFeatures(ItemId(CardId(card_id), face), features, illustration)


def assert_same(found, expected):
    assert [each.item for each in found] == [each.item for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.illustration == other.illustration
        np.testing.assert_array_equal(one.features.descriptors, other.features.descriptors)
        np.testing.assert_array_equal(one.features.keypoints, other.features.keypoints)
        assert one.features.regions == other.features.regions
        assert (one.features.width_px, one.features.height_px) == (366, 512)


@pytest.fixture
def items():
    return [
        seen("a", illustration="art", regions=b"line\0\0"),
        seen("b"),
        seen("b", face=1, keypoints=5),
        seen("Ætherling", keypoints=0),
        seen("d", regions=b"x"),
    ]


def test_what_was_written_is_read(tmp_path, items):
    write_shard(tmp_path / "one.h5", items)

    assert_same(list(read_shard(tmp_path / "one.h5")), items)


def test_only_named_items_are_read_in_the_order_of_the_shards(tmp_path, items):
    write_shard(tmp_path / "one.h5", items[:3])
    write_shard(tmp_path / "two.h5", items[3:])
    reader = ShardedFeatures(
        [
            (tmp_path / "two.h5", [items[4].item]),
            (tmp_path / "one.h5", [items[2].item, items[0].item]),
        ]
    )

    assert len(reader) == 3
    assert_same(list(reader.read()), [items[4], items[0], items[2]])
    assert_same(list(reader.read()), [items[4], items[0], items[2]])


def test_runs_end_where_they_may(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "RUN_ITEMS", 2)
    items = [seen(f"card{n}", keypoints=n % 3) for n in range(7)]
    write_shard(tmp_path / "one.h5", items)

    assert_same(list(read_shard(tmp_path / "one.h5")), items)


def test_a_shard_of_nothing_is_a_shard(tmp_path):
    write_shard(tmp_path / "one.h5", [])

    assert list(read_shard(tmp_path / "one.h5")) == []


def test_a_named_item_that_is_absent_is_told(tmp_path, items):
    write_shard(tmp_path / "one.h5", items)
    reader = ShardedFeatures([(tmp_path / "one.h5", [ItemId(CardId("z"))])])

    with pytest.raises(IndexCorrupt, match="lacks 1 items"):
        list(reader.read())


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, items):
    path = tmp_path / "one.h5"
    write_shard(path, items)
    wrong = ItemFeatures(ItemId(CardId("w")), Features(np.zeros((1, 4)), None, 1, 1))

    with pytest.raises(TypeError):
        write_shard(path, [wrong])

    assert_same(list(read_shard(path)), items)
    assert list(tmp_path.iterdir()) == [path]


def cut(path):
    path.write_bytes(path.read_bytes()[:-700])


def garbage(path):
    path.write_bytes(b"no features at all")


def vanish(path):
    path.unlink()


def flip(path):
    """One bit of a descriptor."""
    with h5py.File(path) as file:
        place = file["descriptors"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[place + 40] ^= 1
    path.write_bytes(data)


def shorten(path):
    with h5py.File(path, "a") as file:
        kept = file["keypoints"][:-1]
        del file["keypoints"]
        file["keypoints"] = kept


def fall(path):
    with h5py.File(path, "a") as file:
        offsets = file["offsets"][:]
        offsets[1] = offsets[2] + 1
        del file["offsets"]
        file["offsets"] = offsets


def of_tomorrow(path):
    with h5py.File(path, "a") as file:
        file.attrs["format"] = 2


@pytest.mark.parametrize("damage", [cut, garbage, vanish, flip, shorten, fall, of_tomorrow])
def test_a_broken_shard_is_no_shard(tmp_path, items, damage):
    path = tmp_path / "one.h5"
    write_shard(path, items)

    damage(path)

    with pytest.raises(IndexCorrupt, match=r"one\.h5"):
        list(read_shard(path))
