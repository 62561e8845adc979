import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omma.vision.align import ARCFACE_POINTS, align_faces
from omma.vision.quality import exposure, face_quality, pose, sharpness, size

FRONTAL = ARCFACE_POINTS[None] * 2
unit = st.floats(0, 1)


def portrait() -> np.ndarray:
    """A drawn face at the template's landmarks, with detail as skin and hair have it."""
    rng = np.random.default_rng(0)
    image = np.full((224, 224, 3), 150, np.uint8)
    cv2.ellipse(image, (112, 130), (75, 95), 0, 0, 360, (190, 160, 140), -1)
    for x, y in ARCFACE_POINTS * 2:
        cv2.circle(image, (int(x), int(y)), 9, (60, 40, 40), -1)
    grain = cv2.resize(rng.normal(0, 12, (112, 112)), (224, 224))
    return np.clip(image + grain[..., None], 0, 255).astype(np.uint8)


def quality(image: np.ndarray, landmarks: np.ndarray = FRONTAL) -> float:
    return float(face_quality(align_faces(image, landmarks), landmarks)[0])


def turned(yaw: float, pitch: float = 0) -> np.ndarray:
    """The landmarks of a head that turns by these angles: a plane with a nose before it."""
    points = np.column_stack([ARCFACE_POINTS[:, 0] - 56, ARCFACE_POINTS[:, 1] - 72, np.zeros(5)])
    points[2] = (0, 2.2, 17)
    points[:, 0], points[:, 2] = (
        points[:, 0] * np.cos(yaw) + points[:, 2] * np.sin(yaw),
        points[:, 2] * np.cos(yaw) - points[:, 0] * np.sin(yaw),
    )
    points[:, 1] = points[:, 1] * np.cos(pitch) + points[:, 2] * np.sin(pitch)
    return (points[:, :2] + 100).astype(np.float32)[None]


def test_a_large_sharp_frontal_well_lit_face_is_good():
    assert quality(portrait()) > 0.7


def test_no_faces_have_no_quality():
    none = np.empty((0, 5, 2), np.float32)

    assert face_quality(align_faces(portrait(), none), none).shape == (0,)


def test_the_more_a_face_is_blurred_the_worse_it_is():
    blurred = [cv2.GaussianBlur(portrait(), (0, 0), sigma) for sigma in (0.5, 1, 2, 4, 8)]

    qualities = [quality(image) for image in (portrait(), *blurred)]

    assert qualities == sorted(qualities, reverse=True)
    assert qualities[-1] < 0.3 * qualities[0]


@pytest.mark.parametrize("dim", [0.2, 0.1, 0.05])
def test_a_dark_face_is_worse(dim):
    assert quality((portrait() * dim).astype(np.uint8)) < 0.7 * quality(portrait())


def test_a_burnt_out_face_is_worse():
    assert quality(cv2.add(portrait(), (110, 110, 110, 0))) < 0.2 * quality(portrait())


def test_a_face_of_half_the_template_is_half_as_good():
    assert size(ARCFACE_POINTS[None] / 2) == pytest.approx(0.5)
    assert size(FRONTAL) == pytest.approx(1)


@given(small=st.floats(0.01, 3), factor=st.floats(1, 3))
def test_size_never_falls_as_faces_grow(small, factor):
    faces = np.concatenate([ARCFACE_POINTS[None] * small, ARCFACE_POINTS[None] * small * factor])

    less, more = size(faces.astype(np.float32))

    assert less <= more + 1e-6


def test_the_further_a_head_turns_the_worse_it_is():
    looks = [float(pose(turned(np.radians(degrees)))[0]) for degrees in (0, 20, 40, 60, 80)]

    assert looks == sorted(looks, reverse=True)
    assert looks[0] > 0.95
    assert looks[-1] < 0.4


@pytest.mark.parametrize("sign", [-1, 1])
def test_looking_up_or_down_is_worse(sign):
    assert pose(turned(0, sign * 0.6)) < pose(turned(0))


@pytest.mark.parametrize(
    ("degrees", "least", "most"), [(15, 0.95, 1), (45, 0.5, 0.65), (60, 0, 0.02), (90, 0, 0)]
)
def test_a_head_that_leans_further_than_recognisers_can_follow_is_no_good(degrees, least, most):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    leaning = (FRONTAL - FRONTAL.mean(axis=1)) @ np.array([[c, s], [-s, c]], np.float32)

    assert least <= pose(leaning.astype(np.float32))[0] / pose(FRONTAL)[0] <= most


@given(st.floats(0, np.pi / 2), st.floats(0, np.pi / 2))
def test_the_further_a_head_leans_the_worse_it_is(one, other):
    less, more = sorted((one, other))

    def leaning(roll: float) -> float:
        rotation = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        return float(pose((ARCFACE_POINTS @ rotation.T).astype(np.float32)[None])[0])

    assert leaning(less) >= leaning(more) - 1e-4


def test_a_mirrored_head_is_as_good():
    left, right = pose(turned(0.5)), pose(turned(-0.5))

    assert left == pytest.approx(right, abs=0.01)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=10, max_size=10), st.integers(0, 255))
def test_every_quality_lies_between_0_and_1(values, level):
    landmarks = np.array(values, np.float32).reshape(1, 5, 2)
    crops = np.full((1, 112, 112, 3), level, np.uint8)
    crops[0, ::3, ::5] = 255 - level

    assert 0 <= face_quality(crops, landmarks)[0] <= 1


def test_landmarks_in_one_point_are_no_face():
    assert quality(portrait(), np.full((1, 5, 2), 50, np.float32)) == 0


@given(unit, unit)
def test_exposure_never_rises_as_light_goes(one, other):
    grey = cv2.cvtColor(portrait(), cv2.COLOR_RGB2GRAY)
    less, more = sorted((one, other))

    assert exposure((grey * less).astype(np.uint8)) <= exposure((grey * more).astype(np.uint8))


def test_strength_of_contrast_is_not_sharpness():
    grey = cv2.cvtColor(portrait(), cv2.COLOR_RGB2GRAY)

    assert sharpness(grey) == pytest.approx(sharpness(grey // 2), rel=0.05)


def test_a_blank_picture_is_not_sharp():
    assert sharpness(np.full((84, 72), 9, np.uint8)) == 0
