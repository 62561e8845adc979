"""Keypoints, outlines and homographies of cards."""

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omma.vision.contrast import even_lightness, fit_longer
from omma.vision.homographies import fit_robustly, project, scaling
from omma.vision.keypoints import find_spread, find_strongest, spread, to_root_sift
from omma.vision.quadrilaterals import area, contains, corners, is_card_like, overlap

CARD = corners(63.0, 88.0)


def texture(seed: int = 0, height: int = 200, width: int = 150) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def test_a_flat_picture_has_no_keypoints():
    flat = np.full((64, 64), 128, np.uint8)

    assert len(find_strongest(flat, 100)) == 0
    assert find_spread(flat, 100).descriptors.shape == (0, 128)


def test_images_of_any_shape_are_looked_at():
    for height, width in [(1, 1), (1, 900), (900, 1), (3, 5)]:
        small, _ = fit_longer(np.zeros((height, width, 3), np.uint8), 256, enlarge=2.0)

        assert len(find_strongest(even_lightness(small), 100)) == 0
        assert max(small.shape[:2]) <= 256


def test_an_image_is_brought_to_its_longer_side():
    small, scale = fit_longer(np.zeros((400, 200, 3), np.uint8), 100)

    assert small.shape == (100, 50, 3)
    assert scale == 0.25


def test_no_more_keypoints_than_asked_for_are_kept():
    assert len(find_spread(even_lightness(texture()), 50)) == 50


def test_the_best_of_every_cell_comes_before_the_second_of_any():
    places = np.array([[5, 5, 2, 0], [6, 5, 2, 0], [7, 5, 2, 0], [75, 105, 2, 0]], np.float32)
    responses = np.array([0.9, 0.8, 0.7, 0.1], np.float32)

    assert spread(places, responses, (110, 80), 2).tolist() == [0, 3]


def test_a_root_sift_descriptor_has_length_512():
    descriptors = np.random.default_rng(0).integers(0, 80, (5, 128)).astype(np.float32)

    lengths = np.linalg.norm(to_root_sift(descriptors).astype(np.float64), axis=1)

    assert np.abs(lengths - 512).max() < 3


def test_nothing_at_all_is_a_descriptor_of_zeros():
    assert to_root_sift(np.zeros((1, 128), np.float32)).max() == 0


def test_a_card_seen_straight_on_is_card_like():
    assert is_card_like(CARD * 2, 63 / 88)


def test_a_mirrored_card_is_not_card_like():
    assert not is_card_like(CARD[::-1] * 2, 63 / 88)


def test_a_folded_or_far_too_narrow_outline_is_not_card_like():
    assert not is_card_like(CARD[[0, 2, 1, 3]] * 2, 63 / 88)
    assert not is_card_like(CARD * [0.3, 5], 63 / 88)
    assert not is_card_like(np.full((4, 2), np.nan), 63 / 88)


@given(st.floats(0, 2 * np.pi), st.floats(1, 20))
def test_a_card_is_card_like_at_any_angle_and_size(angle: float, scale: float):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    assert is_card_like(CARD @ turn.T * scale, 63 / 88)


def test_area_is_negative_for_a_mirrored_outline():
    assert area(CARD) == 63 * 88
    assert area(CARD[::-1]) == -63 * 88


def test_outlines_that_share_a_half_overlap_by_a_third():
    assert np.isclose(overlap(CARD, CARD + np.array([31.5, 0])), 1 / 3)
    assert overlap(CARD, CARD + np.array([100, 0])) == 0
    assert np.isclose(overlap(CARD, CARD), 1)


def test_points_are_inside_or_not():
    points = np.array([[10, 10], [70, 10], [np.nan, 3]], np.float32)

    assert contains(CARD, points).tolist() == [True, False, False]


def test_a_homography_is_found_among_wrong_matches():
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 300, (40, 2)).astype(np.float32)
    truth = np.array([[0.8, 0.2, 5], [-0.1, 1.1, 9], [1e-4, 2e-4, 1]])
    target = project(source, truth).astype(np.float32)
    target[::4] = rng.uniform(0, 300, (10, 2))

    fitted = fit_robustly(source, target, 2.0)

    assert fitted is not None
    matrix, inliers = fitted
    assert np.abs(project(source, matrix) - project(source, truth)).max() < 1
    assert not inliers[::4].any()


def test_four_matches_are_too_few_for_a_homography():
    four = np.zeros((4, 2), np.float32)

    assert fit_robustly(four, four, 2.0) is None


def test_matches_in_one_point_give_no_homography_or_a_finite_one():
    same = np.ones((20, 2), np.float32)

    fitted = fit_robustly(same, same, 2.0)

    assert fitted is None or np.isfinite(fitted[0]).all()


def test_what_lies_behind_the_camera_is_nowhere():
    matrix = np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1]])

    moved = project(np.array([[50.0, 1.0], [200.0, 1.0]]), matrix)

    assert np.isfinite(moved[0]).all()
    assert np.isnan(moved[1]).all()


def test_scaling_multiplies():
    assert project(np.array([[2.0, 3.0]]), scaling(10.0, 100.0)).tolist() == [[20, 300]]
