"""What two looks at one image say together."""

import numpy as np

from omma.engines.scales import merge
from omma.ports.faces import Candidates


def seen(*boxes, score=0.9):
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    landmarks = np.zeros((len(rows), 5, 2), np.float32)
    return Candidates(rows, landmarks, np.full(len(rows), score, np.float32))


def test_a_face_that_both_scales_see_is_one_face():
    both = merge(seen((100, 100, 400, 400)), seen((105, 98, 402, 405), score=0.8))

    assert both.boxes.tolist() == [[100, 100, 400, 400]]


def test_small_faces_are_those_of_the_fine_scale_and_large_ones_those_of_the_coarse():
    fine = seen((0, 0, 100, 100), (500, 0, 1100, 700))
    coarse = seen((0, 0, 130, 130), (400, 0, 1000, 800))

    assert merge(fine, coarse).boxes.tolist() == [[400, 0, 1000, 800], [0, 0, 100, 100]]


def test_a_fragment_of_a_large_face_is_none_however_sure_the_fine_scale_is():
    fine = seen((400, 300, 750, 690), score=0.99)

    assert merge(fine, seen((100, 0, 900, 900), score=0.6)).boxes.tolist() == [[100, 0, 900, 900]]


def test_a_small_face_before_a_large_one_stays():
    face = merge(seen((300, 300, 380, 390)), seen((100, 0, 900, 900)))

    assert len(face.boxes) == 2


def test_nothing_and_nothing_is_nothing():
    assert merge(seen(), seen()).boxes.shape == (0, 4)
