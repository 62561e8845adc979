import numpy as np
import pytest

from omma.domain.errors import ModelCorrupt
from omma.engines.centerface import CenterFace
from omma.engines.scrfd import Scrfd
from omma.engines.suppression import MAX_CANDIDATES, suppress


class ScriptedSession:
    """Answers prepared outputs, whatever the input."""

    def __init__(self, outputs):
        self.outputs = outputs
        self.output_count = len(outputs)
        self.inputs = []

    def parts(self, batch):
        yield batch

    def run(self, inputs):
        self.inputs.append(inputs)
        return self.outputs


def centerface_maps(count, *, hot):
    """Maps of a 32x32 canvas with hot cells (image, row, column, score), each face 8x16 px."""
    heat, scale = np.zeros((count, 1, 8, 8), np.float32), np.zeros((count, 2, 8, 8), np.float32)
    offset, points = np.zeros((count, 2, 8, 8), np.float32), np.zeros((count, 10, 8, 8), np.float32)
    scale[:, 0], scale[:, 1] = np.log(4), np.log(2)  # 16 px high, 8 px wide
    points[:, ::2], points[:, 1::2] = 0.25, 0.5  # a quarter down, half across
    for image, row, column, score in hot:
        heat[image, 0, row, column] = score
    return [heat, scale, offset, points]


def test_a_hot_cell_of_centerface_is_a_face_around_its_centre():
    engine = CenterFace(ScriptedSession(centerface_maps(1, hot=[(0, 3, 5, 0.9)])))

    [found] = engine.run(np.zeros((1, 32, 32, 3), np.uint8), [0.5])

    assert np.allclose(found.boxes, [[18, 6, 26, 22]])  # centre 5.5, 3.5 cells of 4 px
    assert np.allclose(found.landmarks, [[[22, 10]] * 5])
    assert np.allclose(found.scores, [0.9])
    assert {a.dtype for a in (found.boxes, found.landmarks, found.scores)} == {np.dtype("f4")}


def test_centerface_answers_each_image_with_its_own_faces_best_first():
    hot = [(1, 0, 0, 0.6), (1, 7, 7, 0.8), (1, 7, 6, 0.7), (1, 4, 0, 0.4)]
    engine = CenterFace(ScriptedSession(centerface_maps(2, hot=hot)))

    empty, found = engine.run(np.zeros((2, 32, 32, 3), np.uint8), [0.5] * 2)

    assert empty.boxes.shape == (0, 4)
    assert empty.landmarks.shape == (0, 5, 2)
    assert np.allclose(found.scores, [0.8, 0.6])  # 0.7 overlaps 0.8, and 0.4 is too little


def test_centerface_sees_rgb_planes_of_0_to_255():
    session = ScriptedSession(centerface_maps(1, hot=[]))
    canvas = np.zeros((1, 32, 32, 3), np.uint8)
    canvas[..., 0] = 255

    CenterFace(session).run(canvas, [0.5])

    [tensor] = session.inputs
    assert tensor.shape == (1, 3, 32, 32)
    assert tensor[0].mean(axis=(1, 2)).tolist() == [255, 0, 0]


def scrfd_rows(count, *, side=32, hot):
    """Outputs as the stock file orders a batch's rows: cell, image, anchor."""
    scores, boxes, points = [], [], []
    for stride in (8, 16, 32):
        cells = (side // stride) ** 2
        score = np.zeros((cells, count, 2, 1), np.float32)
        for image, at_stride, cell, anchor, value in hot:
            if at_stride == stride:
                score[cell, image, anchor] = value
        scores.append(score.reshape(-1, 1))
        boxes.append(np.ones((cells * count * 2, 4), np.float32))
        points.append(np.full((cells * count * 2, 10), 0.5, np.float32))
    return [*scores, *boxes, *points]


def test_scrfd_gives_every_image_of_a_batch_its_own_rows():
    hot = [(0, 8, 5, 1, 0.9), (2, 32, 0, 0, 0.7), (2, 16, 3, 1, 0.8)]
    engine = Scrfd(ScriptedSession(scrfd_rows(3, hot=hot)))

    first, second, third = engine.run(np.zeros((3, 32, 32, 3), np.uint8), [0.5] * 3)

    assert first.boxes.tolist() == [[0, 0, 16, 16]]  # cell 5 of 4x4 sits at 8, 8
    assert first.landmarks.tolist() == [[[12, 12]] * 5]
    assert second.boxes.shape == (0, 4)
    assert third.boxes.tolist() == [[0, 0, 32, 32], [-32, -32, 32, 32]]
    assert np.allclose(third.scores, [0.8, 0.7])


def test_every_canvas_of_a_batch_has_its_own_threshold():
    canvases = np.zeros((2, 32, 32, 3), np.uint8)
    hot = [(0, 0, 0, 0.3), (1, 0, 0, 0.3)]
    centerface = CenterFace(ScriptedSession(centerface_maps(2, hot=hot)))
    hot = [(0, 8, 5, 1, 0.3), (1, 8, 5, 1, 0.3)]
    scrfd = Scrfd(ScriptedSession(scrfd_rows(2, hot=hot)))

    for engine in (centerface, scrfd):
        found = engine.run(canvases, [0.5, 0.1])

        assert [len(each.scores) for each in found] == [0, 1]


def test_thresholds_follow_their_canvases_into_the_parts_of_a_batch():
    class InPairs(ScriptedSession):
        def parts(self, batch):
            yield from (batch[:2], batch[2:])

    centerface = CenterFace(InPairs(centerface_maps(2, hot=[(0, 0, 0, 0.3), (1, 0, 0, 0.3)])))
    scrfd = Scrfd(InPairs(scrfd_rows(2, hot=[(0, 8, 5, 1, 0.3), (1, 8, 5, 1, 0.3)])))

    for engine in (centerface, scrfd):
        found = engine.run(np.zeros((4, 32, 32, 3), np.uint8), [0.1, 0.5, 0.5, 0.1])

        assert [len(each.scores) for each in found] == [1, 0, 0, 1]


def test_scrfd_refuses_a_file_without_landmarks():
    with pytest.raises(ModelCorrupt, match="expected 9 outputs, got 6"):
        Scrfd(ScriptedSession([np.zeros((1, 1))] * 6))


def test_candidates_beyond_the_cap_are_the_worst():
    count = MAX_CANDIDATES + 1000
    corners = np.stack([np.arange(count) % 100, np.arange(count) // 100], axis=1) * 20
    boxes = np.concatenate([corners, corners + 10], axis=1).astype(np.float32)
    scores = np.linspace(0, 1, count, dtype=np.float32)

    found = suppress(boxes, np.zeros((count, 5, 2), np.float32), scores, 0.3)

    assert len(found.scores) == MAX_CANDIDATES
    assert found.scores.min() > scores[999]
    assert (np.diff(found.scores) <= 0).all()
