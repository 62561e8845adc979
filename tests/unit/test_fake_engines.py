import numpy as np

from omma.engines.fake import FakeDetector, FakeEmbedder


def canvas_with_patches(*patches):
    canvas = np.zeros((96, 128, 3), np.uint8)
    for x1, y1, x2, y2 in patches:
        canvas[y1:y2, x1:x2] = 255
    return canvas


def test_every_bright_patch_is_a_face_and_the_largest_comes_first():
    canvas = canvas_with_patches((4, 4, 20, 24), (60, 10, 110, 70))

    [found] = FakeDetector().run(canvas[None], [0.5])

    assert found.boxes.tolist() == [[60, 10, 110, 70], [4, 4, 20, 24]]
    assert np.allclose(found.scores, [0.99, 0.98])
    assert found.landmarks.shape == (2, 5, 2)


def test_a_dark_canvas_and_a_high_threshold_give_no_faces():
    canvases = np.stack([canvas_with_patches(), canvas_with_patches((0, 0, 40, 40))])

    outcomes = FakeDetector().run(canvases, [0.995, 0.995])

    assert [len(found.scores) for found in outcomes] == [0, 0]


def test_embeddings_are_unit_vectors_that_follow_the_colours():
    red, blue = np.zeros((2, 112, 112, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255

    vectors = FakeEmbedder(64).run(np.stack([red, blue, red]))

    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert vectors[0] @ vectors[2] > 0.999
    assert vectors[0] @ vectors[1] < 0.9


def test_no_crops_give_no_vectors():
    vectors = FakeEmbedder(64).run(np.zeros((0, 112, 112, 3), np.uint8))

    assert vectors.shape == (0, 64)
