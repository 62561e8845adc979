from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.drawing import draw_card, sample_specs
from omma.domain.errors import IndexCorrupt
from omma.engines.cards.packing import pack, unpack
from omma.vision.appearance import Agreement, agreement, align, cut_look, read_look
from omma.vision.distortions import Severity, distort

UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


@pytest.fixture(scope="module")
def spec():
    return replace(sample_specs(4, 3)[0], back=None)


@pytest.fixture(scope="module")
def card(spec):
    return draw_card(spec)


@pytest.fixture(scope="module")
def look(card):
    return read_look(cut_look(card))


def seen(picture, severity=Severity.MODERATE, seed=3):
    photo = distort(picture, severity, np.random.default_rng(seed))
    return cv2.cvtColor(photo.image, cv2.COLOR_RGB2GRAY), photo.outline


def place(outline):
    return cv2.getPerspectiveTransform(UNIT, np.asarray(outline, np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_a_photograph_of_the_card_agrees_with_its_look(card, look, seed):
    grey, outline = seen(card, Severity.SEVERE, seed)

    assert agreement(grey, place(outline), look).mean > 0.8


def test_a_card_of_the_same_frame_and_words_has_another_art(spec, look):
    other = draw_card(replace(spec, art_seed=spec.art_seed + 1))
    grey, outline = seen(other)

    found = agreement(grey, place(outline), look)

    assert found.art < 0.6
    assert found.art < found.whole


def test_a_place_beside_the_card_does_not_agree(card, look):
    grey, outline = seen(card)

    assert agreement(grey, place(outline + 80), look).mean < 0.5


def test_a_place_outside_of_the_photograph_says_nothing(card, look):
    grey, outline = seen(card)

    assert agreement(grey, place(outline + 10_000), look) == Agreement(0.0, 0.0)


def test_a_flat_photograph_does_not_agree(look):
    flat = np.full((300, 300), 90, np.uint8)

    assert agreement(flat, np.diag([200.0, 280.0, 1.0]), look).mean < 0.3


def test_alignment_brings_an_outline_back_that_is_a_few_pixels_off(card, look):
    grey, outline = seen(card)
    height = float(np.linalg.norm(outline[3] - outline[0]))
    off = outline + np.array([[0.02, 0], [0, 0.02], [-0.02, 0], [0, -0.02]]) * height

    moved = align(grey, place(off), look)

    corners = cv2.perspectiveTransform(UNIT[None], moved)[0]
    before, after = (np.abs(each - outline).max() for each in (off, corners))
    assert after < before / 2


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3)])
def test_photographs_of_any_shape_have_an_answer(look, shape):
    photo = np.zeros(shape, np.uint8)
    everywhere = np.diag([float(shape[1]), float(shape[0]), 1.0])

    assert agreement(photo, everywhere, look).mean <= 1
    align(photo, everywhere, look)


@pytest.mark.parametrize("broken", [b"", b"no picture"])
def test_a_look_that_is_none_is_refused(broken):
    with pytest.raises(IndexCorrupt):
        read_look(broken)


def test_a_picture_of_another_size_is_no_look():
    other = cv2.imencode(".jpg", np.zeros((10, 10), np.uint8))[1].tobytes()

    with pytest.raises(IndexCorrupt):
        read_look(other)


def test_a_look_and_regions_are_packed_and_unpacked():
    assert unpack(pack(b"look", b"regions")) == (b"look", b"regions")


def test_nothing_kept_is_neither_look_nor_regions():
    assert unpack(b"") == (b"", b"")


@pytest.mark.parametrize("broken", [b"\x01", b"\xff\xff\xff\xff", b"\x05\x00\x00\x00abc"])
def test_what_is_cut_off_is_refused(broken):
    with pytest.raises(IndexCorrupt):
        unpack(broken)
