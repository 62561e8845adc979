"""Keypoints are paired by descriptor, where a pose or a homography says that they belong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omma.engines.cards.pairing import Pairs
from omma.engines.cards.voting import Hypothesis

SIZE = (230.0, 320.0)
COUNT = 40


def item(seed):
    """Places and descriptors of keypoints that are all different."""
    rng = np.random.default_rng(seed)
    ranges = ((0, 230), (0, 320), (2, 20), (0, 360))  # x, y, size, angle
    places = np.column_stack([rng.uniform(*each, COUNT) for each in ranges])
    squares = rng.dirichlet(np.full(128, 0.3), COUNT)
    return places.astype(np.float32), np.minimum(np.sqrt(squares) * 512, 255).astype(np.uint8)


def moved(places, x, y, scale, degrees):
    """The same under a similarity, and its homography."""
    turn = np.radians(degrees)
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1]])
    away = places[:, :2] @ matrix[:2, :2].T + matrix[:2, 2]
    grown = [places[:, 2] * scale, (places[:, 3] + degrees) % 360]
    return np.column_stack([away, *grown]).astype(np.float32), matrix


def pairs_of(seen, kept, descriptors):
    return Pairs.of((seen, descriptors.astype(np.float32)), (kept, descriptors), SIZE)


similarities = st.tuples(
    st.floats(-2000, 2000), st.floats(-2000, 2000), st.floats(0.3, 4), st.floats(0, 359)
)


@given(seed=st.integers(0, 1000), similarity=similarities)
def test_each_keypoint_is_paired_with_itself_by_the_homography_that_moved_it(seed, similarity):
    kept, descriptors = item(seed)
    seen, matrix = moved(kept, *similarity)

    of_query, of_item = pairs_of(seen, kept, descriptors).by_homography(matrix, 3.0)

    assert of_query.tolist() == of_item.tolist() == list(range(COUNT))


@given(seed=st.integers(0, 1000), similarity=similarities)
def test_each_keypoint_is_paired_with_itself_by_the_pose_of_the_card(seed, similarity):
    kept, descriptors = item(seed)
    seen, matrix = moved(kept, *similarity)
    centre = matrix @ [SIZE[0] / 2, SIZE[1] / 2, 1]
    pose = np.array([*centre[:2], similarity[2] * np.hypot(*SIZE), similarity[3]])

    of_query, of_item = pairs_of(seen, kept, descriptors).by_pose(
        Hypothesis(0, 1.0, pose, np.arange(1))
    )

    assert of_query.tolist() == of_item.tolist()
    assert len(of_query) > COUNT * 0.9  # but for those that have a like one in the item


@pytest.mark.parametrize(
    ("column", "change", "is_paired"),
    [
        (0, 2.9, True),
        (0, 3.2, False),
        (1, -3.2, False),
        (3, 34, True),
        (3, 36, False),
        (3, -326, True),
        (3, 180, False),
    ],
)
def test_a_homography_pairs_what_is_near_and_turned_alike(column, change, is_paired):
    kept, descriptors = item(3)
    seen, matrix = moved(kept, 100, 50, 1.0, 0)
    seen[7, column] += change

    of_query, _ = pairs_of(seen, kept, descriptors).by_homography(matrix, 3.0)

    assert (7 in of_query) == is_paired


@pytest.mark.parametrize(("times", "is_paired"), [(1.7, True), (1.8, False), (0.5, False)])
def test_a_homography_pairs_what_is_of_one_size(times, is_paired):
    kept, descriptors = item(3)
    seen, matrix = moved(kept, 100, 50, 1.0, 0)
    seen[7, 2] *= times

    of_query, _ = pairs_of(seen, kept, descriptors).by_homography(matrix, 3.0)

    assert (7 in of_query) == is_paired


def test_a_pose_pairs_nothing_that_two_keypoints_of_the_item_explain_alike():
    kept, descriptors = item(4)
    kept[1], descriptors[1] = kept[0], descriptors[0]
    pose = np.array([SIZE[0] / 2, SIZE[1] / 2, np.hypot(*SIZE), 0.0])

    of_query, _ = pairs_of(kept, kept, descriptors).by_pose(Hypothesis(0, 1.0, pose, np.arange(1)))

    assert not {0, 1} & set(of_query.tolist())


def test_different_descriptors_are_not_paired_wherever_they_are():
    kept, descriptors = item(5)
    others = np.zeros_like(descriptors)
    others[:, 0] = 255

    pairs = Pairs.of((kept, others.astype(np.float32)), (kept, descriptors), SIZE)

    assert not len(pairs.by_homography(np.eye(3), 3.0)[0])
