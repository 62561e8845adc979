from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.drawing import CardSpec, art, cards, draw_card, sample_specs

SPEC = CardSpec(
    name="Ærith\u2019s Lamp — déjà vu",
    type_line="Creature — Spirit",
    text="One line.\n\nAnd a longer one that does not fit into a single line of the box at all.",
    set_code="abc",
    collector_number="7",
    art_seed=5,
    symbol_seed=1,
    cost="2UU",
    strength="3/4",
)


def changed(one: np.ndarray, other: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of all pixels that differ."""
    x, y, width, height = cv2.boundingRect((one != other).any(2).astype(np.uint8))
    return x, y, x + width, y + height


def test_a_card_is_drawn_alike_every_time():
    assert (draw_card(SPEC) == draw_card(SPEC)).all()


def test_a_card_has_the_middle_size_of_card_services():
    assert draw_card(SPEC).shape == (680, 488, 3)


def test_a_reprint_differs_only_in_symbol_and_collector_line():
    one, reprint = draw_card(SPEC), draw_card(SPEC.reprinted("xyz", "123", 9))

    reach = cards.SYMBOL_PX + 2
    for part in (np.s_[:640], np.s_[640:]):
        left, top, right, bottom = changed(one[part], reprint[part])
        if part == np.s_[640:]:
            assert right > left  # the collector line
        else:
            assert cards.SYMBOL[0] - reach <= left < right <= cards.SYMBOL[0] + reach
            assert cards.SYMBOL[1] - reach <= top < bottom <= cards.SYMBOL[1] + reach


def test_other_art_is_another_picture():
    left, top, right, bottom = cards.ART

    one, other = draw_card(SPEC), draw_card(replace(SPEC, art_seed=6))

    difference = np.abs(one.astype(int) - other)[top:bottom, left:right]
    assert difference.mean() > 10


@pytest.mark.parametrize("painter", art.PAINTERS, ids=lambda painter: painter.__name__)
def test_every_kind_of_art_has_detail_everywhere(painter):
    picture = painter(np.random.default_rng(3), 120, 160)

    assert picture.shape == (120, 160, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10


def test_a_picture_takes_the_place_of_drawn_art():
    picture = np.full((40, 90, 3), (9, 99, 199), np.uint8)

    card = draw_card(SPEC, picture)

    assert tuple(card[200, 240]) == (9, 99, 199)


def test_words_are_wrapped_and_long_ones_stand_alone():
    lines = cards.wrap("a few words and Donaudampfschifffahrtsgesellschaft too", 0.6, 130)

    assert " ".join(lines) == "a few words and Donaudampfschifffahrtsgesellschaft too"
    assert "Donaudampfschifffahrtsgesellschaft" in lines


def test_letters_that_cannot_be_drawn_lose_their_accents():
    assert cards.plain("Déjà\u2014vu\u2019s") == "Deja-vu's"


def test_texts_of_any_length_fit():
    for text in ("", "word " * 400):
        assert draw_card(replace(SPEC, text=text, name=text or "?")).shape == (680, 488, 3)


def test_samples_vary_and_are_the_same_every_time():
    specs = sample_specs(40)

    assert specs == sample_specs(40)
    assert specs != sample_specs(40, seed=1)
    assert len({spec.card_id for spec in specs}) == 40
    assert len({spec.frame for spec in specs}) > 4


def test_samples_hold_reprints_and_a_card_with_two_faces():
    specs = sample_specs(40)

    assert len({spec.illustration for spec in specs}) < 40
    two_faced = [spec for spec in specs if spec.back]
    assert [spec.name == (spec.back and spec.back.name) for spec in two_faced] == [False]


def test_a_reprint_of_a_two_faced_card_has_both_faces_of_the_other_set():
    spec = replace(SPEC, back=replace(SPEC, name="Other", art_seed=9))

    reprint = spec.reprinted("xyz", "12", 4)

    assert reprint.back == replace(
        SPEC, name="Other", art_seed=9, set_code="xyz", collector_number="12", symbol_seed=4
    )
