import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omma.vision.canvas import choose_side, letterbox
from tests.samples import picture

sides = st.integers(1, 700)


def test_a_landscape_photo_fills_the_width_and_leaves_the_bottom_black():
    canvas = letterbox(picture(1280, 700), 640, "square")

    assert canvas.pixels.shape == (640, 640, 3)
    assert canvas.scale_x == canvas.scale_y == 0.5
    assert canvas.pixels[:350].any(axis=2).all()
    assert not canvas.pixels[350:].any()


def test_a_tight_canvas_ends_at_the_next_multiple_of_32():
    assert letterbox(picture(1280, 700), 640).pixels.shape == (352, 640, 3)


@pytest.mark.parametrize("policy", ["tight", "square"])
def test_a_small_image_is_copied_and_never_enlarged(policy):
    image = picture(100, 60)

    canvas = letterbox(image, 320, policy)

    assert canvas.scale_x == canvas.scale_y == 1
    assert (canvas.pixels[:60, :100] == image).all()


def test_points_return_to_the_pixels_they_came_from():
    canvas = letterbox(picture(1000, 333), 320)

    corner = np.array([[320, 106]], np.float32)

    assert canvas.to_image(corner) == pytest.approx(np.array([[1000, 333]]))


@given(width=sides, height=sides, side=st.sampled_from([32, 320]), square=st.booleans())
def test_every_canvas_can_be_divided_by_32_and_holds_the_whole_image(width, height, side, square):
    image = np.full((height, width, 3), 200, np.uint8)

    canvas = letterbox(image, side, "square" if square else "tight")

    rows, columns = canvas.pixels.shape[:2]
    assert rows % 32 == 0
    assert columns % 32 == 0
    assert max(rows, columns) <= side
    assert canvas.pixels[0, 0].all()
    assert 0 < canvas.scale_x <= 1
    assert 0 < canvas.scale_y <= 1


@pytest.mark.parametrize(
    ("width", "side"), [(10, 320), (320, 320), (321, 640), (641, 1280), (9000, 1280)]
)
def test_auto_chooses_the_smallest_side_that_loses_nothing(width, side):
    assert choose_side("auto", width_px=width, height_px=10) == side


def test_a_side_that_was_asked_for_is_kept():
    assert choose_side(640, width_px=9000, height_px=10) == 640
