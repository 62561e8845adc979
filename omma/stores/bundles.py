"""Bundles: the documented files of features and index, read from elsewhere and written for it.

``candidate_features.h5`` has a group for each card, in it ``feature_0`` and so on for its pictures,
in each of them ``descriptors`` (RootSIFT as float16) and ``keypoints`` (a JSON array).
``id_map.json`` names the card of each descriptor row of ``faiss_ivf.index``.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from omma.domain.cards import CardId, Features, ItemFeatures, ItemId
from omma.domain.errors import IndexCorrupt, InvalidInput
from omma.ports.cards import FeatureReader
from omma.stores.hdf5 import created, opened, require_inside
from omma.stores.writing import whole_file

FEATURES, INDEX, IDS = "candidate_features.h5", "faiss_ivf.index", "id_map.json"
FEATURE = re.compile(r"feature_(\d{1,9})")
FACES = "faces_are_numbered"  # attribute of our own bundles: feature_1 is a card's back
SIDE_PX = 256  # pictures were brought to this square, whatever their aspect
ONE = 512  # what 1.0 is in our descriptors
MAX_KEYPOINTS = 20_000  # of one picture
MAX_TEXT = 8 * 1024 * 1024  # characters of a picture's keypoints
MAX_BYTES = 32 * 1024 * 1024  # of a picture's descriptors, as floats of any width; of its keypoints
LONGEST_ROOT = 1.01  # a root of an L1-unit vector, with the rounding of float16
RUN_CARDS = 200

IndexWriter = Callable[[FeatureReader, Path], None]  # rows in the order that the reader gives


@dataclass(frozen=True, slots=True)
class _Place:
    item: ItemId
    group: str  # below that of its card


class BundleFeatures:
    """`FeatureReader` of a bundle's ``candidate_features.h5``; a few cards in memory at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with opened(path) as file:
            self._places = list(_places(file))
        if not self._places:
            raise IndexCorrupt(f"{path.name} has no features")

    def __len__(self) -> int:
        return len(self._places)

    @property
    def items(self) -> Sequence[ItemId]:
        """All of them, in order."""
        return [place.item for place in self._places]

    def read(self) -> Iterable[ItemFeatures]:
        for start in range(0, len(self._places), RUN_CARDS):
            run = self._places[start : start + RUN_CARDS]
            with opened(self._path) as file:
                items = [_read(file, place) for place in run]
            yield from items


def write_bundle(
    folder: Path,
    items: FeatureReader,
    *,
    image_urls: Mapping[ItemId, str],
    write_index: IndexWriter | None = None,
) -> None:
    """Write the documented files; the index by who knows how, the ids last."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / FEATURES) as written, created(written) as file:
        file.attrs[FACES] = True
        for each in items.read():
            _write(file, each, image_urls.get(each.item, ""))
    if write_index is not None:
        with whole_file(folder / INDEX) as written:
            write_index(items, written)
    with whole_file(folder / IDS) as written:
        _write_ids(written, items)


def _places(file: Any) -> Iterator[_Place]:
    is_numbered = bool(file.attrs.get(FACES, False))
    for card_id in file:
        card = require_inside(file, card_id)
        numbers = sorted(int(found[1]) for name in card if (found := FEATURE.fullmatch(name)))
        for rank, number in enumerate(numbers):
            item = ItemId(CardId(card_id), number if is_numbered else rank)
            yield _Place(item, f"feature_{number}")


def _read(file: Any, place: _Place) -> ItemFeatures:
    name = f"{place.item.card_id}/{place.group}"
    group = require_inside(require_inside(file, place.item.card_id), place.group)
    descriptors = require_inside(group, "descriptors")
    if descriptors.ndim != 2 or descriptors.shape[1] != 128 or len(descriptors) > MAX_KEYPOINTS:  # noqa: PLR2004
        raise IndexCorrupt(f"{name}: expected (n, 128) descriptors, got {descriptors.shape}")
    if descriptors.dtype.kind != "f":
        raise IndexCorrupt(f"{name}: expected descriptors of floats, got {descriptors.dtype}")
    told = require_inside(group, "keypoints")
    if told.size != 1:
        raise IndexCorrupt(f"{name}: expected one text of keypoints, got {told.shape}")
    for column in (descriptors, told):
        _require_small(column, name)
    try:
        keypoints, packed = _keypoints(told[()], name), _packed(descriptors[:], name)
    except MemoryError:  # how long a text of no fixed length is, HDF5 says with the text alone
        raise IndexCorrupt(f"{name} does not fit into the memory") from None
    if len(keypoints) != len(packed):
        raise IndexCorrupt(f"{name}: {len(packed)} descriptors, {len(keypoints)} keypoints")
    return ItemFeatures(place.item, Features(keypoints, packed, SIDE_PX, SIDE_PX))


def _require_small(column: Any, name: str) -> None:
    """HDF5 unpacks whole chunks, and those may be larger than what is asked of them."""
    values = max(column.size, math.prod(column.chunks or ()))
    if values * column.dtype.itemsize > MAX_BYTES:
        raise IndexCorrupt(f"{name}: too much in one column, expected at most {MAX_BYTES} bytes")


def _packed(roots: Float[np.ndarray, "n 128"], name: str) -> UInt8[np.ndarray, "n 128"]:
    """RootSIFT from 0 to 1 as bytes."""
    if not ((roots >= 0) & (roots <= LONGEST_ROOT)).all():  # NaN is neither
        raise IndexCorrupt(f"{name}: expected RootSIFT descriptors from 0 to 1")
    return np.clip(np.rint(roots.astype(np.float32) * ONE), 0, 255).astype(np.uint8)


def _keypoints(value: Any, name: str) -> Float32[np.ndarray, "n 4"]:
    """Of one JSON text, alone or in an array of one."""
    text = value.ravel()[0] if isinstance(value, np.ndarray) else value
    if len(text) > MAX_TEXT:
        raise IndexCorrupt(f"{name}: expected at most {MAX_TEXT} characters of keypoints")
    told: list[Any] = json.loads(text)
    rows = [(*each["pt"], each["size"], each["angle"]) for each in told]
    keypoints = np.array(rows, np.float32).reshape(-1, 4)
    if not np.isfinite(keypoints).all():
        raise IndexCorrupt(f"{name}: expected finite keypoints")
    return keypoints


def _write(file: Any, each: ItemFeatures, image_url: str) -> None:
    card_id = each.item.card_id
    if "/" in card_id or card_id in {"", "."}:
        raise InvalidInput(f"expected ids of cards without a slash, got {card_id!r}")
    group = file.require_group(card_id).create_group(f"feature_{each.item.face}")
    roots = (each.features.descriptors / np.float32(ONE)).astype(np.float16)
    group.create_dataset("descriptors", data=roots, compression="gzip" if len(roots) else None)
    told = [
        {"pt": [x, y], "size": size, "angle": angle, "response": 0.0, "octave": 0, "class_id": -1}
        for x, y, size, angle in each.features.keypoints.tolist()
    ]
    group.create_dataset("keypoints", data=json.dumps(told))
    group.attrs["image_url"] = image_url


def _write_ids(path: Path, items: FeatureReader) -> None:
    """An array of as many ids as there are descriptors: too many to hold at once."""
    with path.open("w") as file:
        file.write("[")
        lead = ""
        for each in items.read():
            card_id = json.dumps(each.item.card_id)
            for _ in range(len(each.features.descriptors)):
                file.write(f"{lead}{card_id}")
                lead = ",\n"
        file.write("]")
