import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from omma.vision.boxes import area, clip, iou, nms

corners = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 12), st.just(4)), elements=st.integers(0, 64).map(float)
)
boxes = corners.map(
    lambda c: np.concatenate([np.minimum(c[:, :2], c[:, 2:]), np.maximum(c[:, :2], c[:, 2:])], 1)
)


def test_iou_of_half_overlap_is_one_third():
    a = np.array([[0, 0, 2, 2]], np.float32)
    b = np.array([[1, 0, 3, 2]], np.float32)

    assert iou(a, b) == pytest.approx(1 / 3)


@given(boxes, st.floats(0, 1))
def test_nms_keeps_no_two_boxes_that_overlap_too_much(boxes, max_iou):
    scores = np.linspace(1, 0, len(boxes), dtype=np.float32)

    kept = boxes[nms(boxes, scores, max_iou)]

    overlap = iou(kept, kept)
    np.fill_diagonal(overlap, 0)
    assert (overlap <= max_iou).all()


@given(boxes, st.floats(0, 1))
def test_nms_drops_only_boxes_that_overlap_a_better_kept_one(boxes, max_iou):
    scores = np.linspace(1, 0, len(boxes), dtype=np.float32)

    kept = nms(boxes, scores, max_iou)

    dropped = np.setdiff1d(np.arange(len(boxes)), kept)
    for index in dropped:
        better = kept[kept < index]
        assert (iou(boxes[index : index + 1], boxes[better]) > max_iou).any()


def test_nms_answers_best_first():
    boxes = np.array([[0, 0, 2, 2], [10, 0, 12, 2], [0, 0, 2, 2.1]], np.float32)

    kept = nms(boxes, np.array([0.5, 0.7, 0.9], np.float32), 0.4)

    assert kept.tolist() == [2, 1]


def test_nms_of_nothing_is_nothing():
    assert nms(np.empty((0, 4), np.float32), np.empty(0, np.float32), 0.4).size == 0


@given(boxes)
def test_iou_is_symmetric_and_one_with_itself(boxes):
    boxes = boxes[area(boxes) > 0]

    overlaps = iou(boxes, boxes)

    assert (overlaps == overlaps.T).all()
    assert np.diagonal(overlaps) == pytest.approx(1)
    assert ((overlaps >= 0) & (overlaps <= 1)).all()


def test_clip_cuts_at_every_edge():
    box = np.array([[-5, -6, 70, 80]], np.float32)

    assert clip(box, width_px=64, height_px=48).tolist() == [[0, 0, 64, 48]]


@given(boxes)
def test_a_clipped_box_lies_inside_and_is_no_larger(boxes):
    clipped = clip(boxes - 8, width_px=40, height_px=30)

    assert (clipped >= 0).all()
    assert (clipped[:, 2] <= 40).all()
    assert (clipped[:, 3] <= 30).all()
    assert (area(clipped) <= area(boxes)).all()


def test_a_wrong_shape_is_refused_at_the_call():
    with pytest.raises(TypeError):
        iou(np.zeros((3, 5), np.float32), np.zeros((3, 4), np.float32))
