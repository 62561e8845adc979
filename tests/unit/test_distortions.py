from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.drawing import draw_card, sample_specs
from omma.vision.distortions import RANGES, Severity, distort

CARD = draw_card(sample_specs(1)[0])
SEEDS = range(4)


def photo(seed: int, severity: Severity = Severity.MODERATE, **kwargs):
    return distort(CARD, severity, np.random.default_rng(seed), **kwargs)


def height_px(outline: np.ndarray) -> float:
    """Mean of both long sides."""
    left, right = outline[3] - outline[0], outline[2] - outline[1]
    return float(np.hypot(*left) + np.hypot(*right)) / 2


def area(outline: np.ndarray) -> float:
    return float(cv2.contourArea(outline, oriented=True))


def test_the_same_random_numbers_make_the_same_photo():
    one, other = (photo(1, Severity.SEVERE, height_px=200.0) for _ in range(2))

    assert (one.image == other.image).all()
    assert (one.outline == other.outline).all()
    assert one.effects == other.effects


def test_other_random_numbers_make_another_photo():
    assert photo(1, height_px=99.0).image.shape != photo(2, height_px=99.0).image.shape


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_whole_card_is_in_the_photo_and_never_mirrored(seed, severity):
    found = photo(seed, severity, height_px=200.0)

    height, width = found.image.shape[:2]
    assert (found.outline >= 0).all()
    assert (found.outline <= (width, height)).all()
    assert cv2.isContourConvex(found.outline)
    assert area(found.outline) > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_outline_leads_back_to_the_card(seed):
    found = photo(seed, height_px=400.0)

    height, width = CARD.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    back = cv2.warpPerspective(
        found.image, cv2.getPerspectiveTransform(found.outline, corners), (width, height)
    )
    grey, expected = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in (back, CARD))
    art = np.s_[100:350, 60:430]
    assert np.corrcoef(grey[art].ravel(), expected[art].ravel())[0, 1] > 0.8


def test_severe_photos_are_tilted_more():
    moderate = [photo(seed, height_px=60.0) for seed in range(12)]
    severe = [photo(seed, Severity.SEVERE, height_px=60.0) for seed in range(12)]

    assert max(found.tilt for found in moderate) <= 30
    assert 30 < max(found.tilt for found in severe) <= 55


def test_severe_photos_may_be_smaller_and_moderate_ones_have_320_px():
    low = {severity: RANGES[severity].height_px[0] for severity in Severity}

    assert low == {Severity.MODERATE: 320, Severity.SEVERE: 200}


def test_a_card_that_is_not_tilted_is_as_high_as_asked_for(monkeypatch):
    flat = replace(RANGES[Severity.MODERATE], tilt=(0.0, 0.0))
    monkeypatch.setitem(RANGES, Severity.MODERATE, flat)

    assert height_px(photo(3, height_px=600.0).outline) == pytest.approx(600, abs=0.5)


def test_a_background_is_seen_around_the_card():
    table = np.full((50, 50, 3), (0, 200, 0), np.uint8)
    found = photo(9, background=table, height_px=200.0)

    mask = np.ones(found.image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [found.outline.astype(np.int32)], 0)
    assert np.median(found.image[mask > 0], axis=0).argmax() == 1


def test_very_small_and_very_large_pictures_are_distorted_too():
    for shape in ((20, 14, 3), (1500, 1070, 3), (300, 420, 3)):
        picture = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
        found = distort(picture, Severity.SEVERE, np.random.default_rng(0), height_px=200.0)

        assert found.image.dtype == np.uint8
        assert found.image.ndim == 3
