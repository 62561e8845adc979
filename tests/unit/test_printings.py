from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.drawing import draw_card, sample_specs
from omma.domain.errors import IndexCorrupt
from omma.vision.distortions import Severity, distort
from omma.vision.printings import REGIONS, View, cut_regions, tell_apart

UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
ASPECT = 488 / 680


@pytest.fixture(scope="module")
def group():
    """A card, its reprint in another set, and that set's next number of the same art."""
    first = replace(sample_specs(8, 3)[0], back=None)
    second = first.reprinted("XYZ", "17", 99)
    pictures = [draw_card(each) for each in (first, second, second.reprinted("XYZ", "18", 99))]
    return pictures, [cut_regions(each) for each in pictures]


def seen(picture, height_px, *, seed=1):
    photo = distort(picture, Severity.MODERATE, np.random.default_rng(seed), height_px=height_px)
    homography = cv2.getPerspectiveTransform(UNIT, photo.outline)
    return View(cv2.cvtColor(photo.image, cv2.COLOR_RGB2GRAY), homography, height_px)


@pytest.mark.parametrize("number", range(3))
def test_a_sharp_photograph_tells_which_printing_it_is(group, number):
    pictures, regions = group

    odds = tell_apart(seen(pictures[number], 700.0), regions, ASPECT)

    assert odds.argmax() == number
    assert odds.max() > 0.95
    assert odds.sum() == pytest.approx(1)


def test_a_tiny_photograph_leaves_the_collector_number_open(group):
    pictures, regions = group

    odds = tell_apart(seen(pictures[1], 100.0), regions[1:], ASPECT)

    assert odds.max() < 0.95


def test_pictures_that_are_the_same_are_equally_probable(group):
    pictures, regions = group

    odds = tell_apart(seen(pictures[0], 700.0), [regions[0], regions[0]], ASPECT)

    assert odds.tolist() == [0.5, 0.5]


def test_an_outline_that_is_off_by_two_pixels_does_no_harm(group):
    pictures, regions = group
    view = seen(pictures[1], 700.0)
    moved = np.array([[1, 0, 2], [0, 1, -2], [0, 0, 1]]) @ view.homography

    odds = tell_apart(View(view.photo, moved, 700.0), regions, ASPECT)

    assert odds.argmax() == 1


def test_a_photograph_of_something_else_gives_numbers_all_the_same(group):
    _, regions = group
    flat = View(np.full((300, 300), 128, np.uint8), np.diag([200.0, 280.0, 1.0]), 280.0)

    odds = tell_apart(flat, regions, ASPECT)

    assert np.isfinite(odds).all()
    assert odds.sum() == pytest.approx(1)


def test_regions_of_one_card_take_a_few_kilobytes(group):
    _, regions = group

    assert max(map(len, regions)) < 40_000


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 2000, 3), (2000, 5, 3)])
def test_pictures_of_any_shape_have_regions(shape):
    regions = cut_regions(np.zeros(shape, np.uint8))

    assert len(regions) >= 4 * len(REGIONS)


@pytest.mark.parametrize("broken", [b"", b"\x01", b"\xff\xff\xff\xff", b"\x02\x00\x00\x00ab" * 5])
def test_regions_that_are_none_are_refused(group, broken):
    pictures, _ = group

    with pytest.raises(IndexCorrupt):
        tell_apart(seen(pictures[0], 300.0), [broken, broken], ASPECT)
