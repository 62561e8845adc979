import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omma.vision.align import (
    ARCFACE_POINTS,
    align_faces,
    crop_box_margin,
    crop_boxes_margin,
    similarity_transforms,
)
from tests.samples import picture

shifts = st.floats(-300, 300)
turns = st.floats(-np.pi, np.pi)
scales = st.floats(0.1, 10)


def moved(points: np.ndarray, turn: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (scale * points @ rotation.T + shift).astype(np.float32)


@given(turn=turns, scale=scales, x=shifts, y=shifts)
def test_a_face_that_is_only_moved_returns_to_the_template(turn, scale, x, y):
    landmarks = moved(ARCFACE_POINTS, turn, scale, (x, y))

    (transform,) = similarity_transforms(landmarks[None], ARCFACE_POINTS)

    aligned = landmarks @ transform[:, :2].T + transform[:, 2]
    assert aligned == pytest.approx(ARCFACE_POINTS, abs=0.01 + 1e-4 / scale)


@given(st.integers(0, 2**32 - 1))
def test_no_similarity_brings_the_landmarks_nearer(seed):
    rng = np.random.default_rng(seed)
    landmarks = (ARCFACE_POINTS + rng.normal(0, 8, (5, 2))).astype(np.float32)
    (best,) = similarity_transforms(landmarks[None], ARCFACE_POINTS)
    a, b, dx, dy = best[0, 0], best[1, 0], best[0, 2], best[1, 2]

    def miss(a: float, b: float, dx: float, dy: float) -> float:
        there = landmarks @ np.array([[a, b], [-b, a]]) + (dx, dy)
        return float(((there - ARCFACE_POINTS) ** 2).sum())

    other = rng.normal(0, 1, 4) * (0.1, 0.1, 5, 5)
    assert miss(a, b, dx, dy) <= miss(*(np.array([a, b, dx, dy]) + other)) + 1e-6


@pytest.mark.parametrize("seed", range(10))
def test_crops_are_those_of_insightface(seed):
    face_align = pytest.importorskip("insightface.utils.face_align")
    rng = np.random.default_rng(seed)
    image = picture(640, 480, seed)
    spread = rng.uniform(0.4, 3) * ARCFACE_POINTS + rng.normal(0, 4, (5, 2))
    landmarks = (spread + rng.uniform(0, 200, 2)).astype(np.float32)

    crop = align_faces(image, landmarks[None])[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # scikit-image on insightface's call
        expected = face_align.norm_crop(image, landmarks)
        transform = face_align.estimate_norm(landmarks)
    assert cv2.absdiff(crop, expected).max() <= 1
    assert similarity_transforms(landmarks[None], ARCFACE_POINTS)[0] == pytest.approx(
        transform, abs=1e-3
    )


def test_an_aligned_face_is_copied_pixel_for_pixel():
    image = picture(112, 112)

    assert (align_faces(image, ARCFACE_POINTS[None])[0] == image).all()


def test_no_faces_give_no_crops():
    assert align_faces(picture(), np.empty((0, 5, 2), np.float32)).shape == (0, 112, 112, 3)


def test_landmarks_in_one_point_give_a_crop_around_it():
    crops = align_faces(picture(), np.full((1, 5, 2), 20, np.float32))

    assert crops.shape == (1, 112, 112, 3)
    assert crops.any()


def test_a_face_far_along_an_image_too_long_to_warp_is_the_face():
    face = picture(112, 112)
    image = np.zeros((120, 40_000, 3), np.uint8)
    image[4:116, 39_000:39_112] = face
    landmarks = ARCFACE_POINTS + np.array([39_000, 4], np.float32)

    crop = align_faces(image, landmarks[None])[0]

    assert cv2.absdiff(crop, face).max() <= 8  # float32 landmarks at 39,000 px: 1/256 px


def test_a_box_fills_the_crop_but_for_the_margin():
    image = np.zeros((200, 200, 3), np.uint8)
    image[60:140, 60:140] = 255

    crop = crop_box_margin(image, np.array([60, 60, 140, 140], np.float32), 160, 32)

    assert crop[18:142, 18:142].min() == 255
    assert crop[:14].max() == 0
    assert crop[:, 146:].max() == 0


def test_shrinking_averages_whole_areas():
    image = np.zeros((640, 640, 3), np.uint8)
    image[::2] = 200

    crop = crop_box_margin(image, np.array([64, 64, 576, 576], np.float32))

    assert crop.min() == crop.max() == 100


@given(st.lists(st.floats(-500, 500, width=32), min_size=4, max_size=4))
def test_any_box_gives_a_crop(corners):
    box = np.array(corners, np.float32)

    assert crop_box_margin(picture(), box).shape == (160, 160, 3)


def test_boxes_are_cut_as_each_alone():
    image, boxes = picture(), np.array([[1, 2, 30, 40], [-4, -4, 90, 20]], np.float32)

    crops = crop_boxes_margin(image, boxes)

    assert (crops == np.stack([crop_box_margin(image, box) for box in boxes])).all()
