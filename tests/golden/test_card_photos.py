"""Photographs of real cards on tables: every other occurrence of a card is found, nothing else."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.drawing import draw_card, sample_specs
from omma.domain.cards import CardId, ItemFeatures, ItemId, RecogniseOptions
from omma.engines.cards import SiftCardEngines
from tests.weights import eval_data

pytestmark = [pytest.mark.eval, pytest.mark.drill]
OUTLINES = Path(__file__).with_name("card_photos.json")
WIDTH, HEIGHT = 488, 680  # px of a crop as it is indexed
FOUND = 0.85  # intersection over union of outlines marked by hand, a few px off
PHOTOS = json.loads(OUTLINES.read_text())


class Reader:
    """Features in memory."""

    def __init__(self, items):
        self._items = items

    def __len__(self):
        return len(self._items)

    def read(self):
        return iter(self._items)


@pytest.fixture(scope="module")
def photos():
    folder = eval_data() / "cards" / "photos"
    return {name: cv2.imread(str(folder / name))[:, :, ::-1] for name in PHOTOS}


@pytest.fixture(scope="module")
def engines():
    return SiftCardEngines()


@pytest.fixture(scope="module")
def others(engines):
    """Cards that are in none of the photographs."""
    drawn = [png(draw_card(spec)) for spec in sample_specs(40, 7)]
    folder = eval_data() / "cards" / "scans"
    scans = [path.read_bytes() for path in sorted(folder.glob("*.webp"))]
    return [indexed(engines, f"other-{n}", image) for n, image in enumerate([*drawn, *scans])]


@pytest.fixture(scope="module")
def crops(engines, photos):
    """One crop of each card, brought upright by hand, with the place that it was cut from."""
    found = {}
    for photo, cards in PHOTOS.items():
        for place, card in enumerate(cards):
            if card["name"] not in found:
                crop = rectified(photos[photo], card["outline"])
                found[card["name"]] = (photo, place, indexed(engines, card["name"], png(crop)))
    return found


@pytest.fixture(scope="module")
def with_crops(engines, others, crops, tmp_path_factory):
    items = [*others, *(item for _, _, item in crops.values())]
    return opened(engines, items, tmp_path_factory.mktemp("with"))


@pytest.fixture(scope="module")
def without_crops(engines, others, tmp_path_factory):
    return opened(engines, others, tmp_path_factory.mktemp("without"))


def opened(engines, items, folder):
    engines.build(Reader(items), folder, version="v1")
    return engines.open(folder, version="v1")


def indexed(engines, name, image):
    return ItemFeatures(ItemId(CardId(name)), engines.extract(image))


def png(image):
    return cv2.imencode(".png", np.ascontiguousarray(image[:, :, ::-1]))[1].tobytes()


def rectified(photo, outline):
    target = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], np.float32)
    matrix = cv2.getPerspectiveTransform(np.array(outline, np.float32), target)
    return cv2.warpPerspective(photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)


def overlap(a, b):
    """Intersection over union of two quadrilaterals."""
    a, b = np.array(a, np.float32), np.array(b, np.float32)
    shared, _ = cv2.intersectConvexConvex(a, b)
    return shared / (cv2.contourArea(a) + cv2.contourArea(b) - shared)


def found_in(engine, photo):
    [recognition] = engine.recognise([photo], RecogniseOptions(max_cards=60))
    return [(match.item.card_id, match.outline) for match in recognition.matches]


@pytest.mark.parametrize("name", PHOTOS)
def test_every_occurrence_is_found_at_its_place_and_nothing_else(with_crops, photos, name):
    found = found_in(with_crops, photos[name])

    cards = [(card["name"], card["outline"]) for card in PHOTOS[name]]
    missed = [card for card in cards if not any(same(card, each) for each in found)]
    invented = [each[0] for each in found if not any(same(card, each) for card in cards)]
    assert (missed, invented) == ([], [])
    assert len(found) == len(cards)


@pytest.mark.parametrize("name", PHOTOS)
def test_nothing_is_claimed_where_no_card_of_the_photograph_is_indexed(without_crops, photos, name):
    assert found_in(without_crops, photos[name]) == []


def same(card, found):
    return card[0] == found[0] and overlap(card[1], found[1]) > FOUND
