"""Our engines against the code that their models were published with, and against themselves."""

import importlib.resources

import cv2
import numpy as np
import pytest
from insightface.model_zoo import scrfd
from insightface.utils.face_align import norm_crop

from omma.domain.models import Conversion
from omma.engines.conversion.convert import convert
from omma.engines.loading import load_detector
from omma.vision.align import align_faces
from omma.vision.canvas import letterbox
from tests.weights import ENGINE, SCRFD, detector, embedder, eval_data


def group_photo():
    """The six people that the insightface wheel carries."""
    path = importlib.resources.files("insightface") / "data" / "images" / "t1.jpg"
    encoded = np.frombuffer(path.read_bytes(), np.uint8)
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def scrfd_file():
    return eval_data() / "models" / "scrfd_500m.onnx"


def our_scrfd(folder):
    """The stock file but for the declared sizes, as a pull leaves it."""
    convert(Conversion.FREE_DIMENSIONS, scrfd_file(), folder / "scrfd.onnx")
    return load_detector(SCRFD, folder / "scrfd.onnx", ENGINE)


def stack(*canvases):
    return np.stack([canvas.pixels for canvas in canvases])


@pytest.mark.eval
@pytest.mark.parametrize("side", [320, 640])
def test_scrfd_finds_what_insightface_finds(side, tmp_path):
    theirs, ours = scrfd.SCRFD(str(scrfd_file())), our_scrfd(tmp_path)
    folder = eval_data() / "faces"
    files = [*sorted(folder.glob("groups/*.jpg")), folder / "friends" / "group.jpg"]

    for file in files:
        image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        boxes, landmarks = theirs.detect(image[:, :, ::-1], input_size=(side, side))
        canvas = letterbox(image, side, "square")

        [found] = ours.run(canvas.pixels[None], [0.5])

        # On the canvas: theirs maps x back by the scale of y, up to 3 px off in a 1920 px photo.
        assert len(boxes) == len(found.boxes) > 0
        assert np.abs(found.boxes - boxes[:, :4] * canvas.scale_y).max() < 0.5
        assert np.abs(found.landmarks - landmarks * canvas.scale_y).max() < 0.5
        assert np.abs(found.scores - boxes[:, 4]).max() < 1e-3


@pytest.mark.models
@pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")  # theirs
def test_alignment_is_that_of_insightface():
    image = group_photo()
    [found] = detector().run(letterbox(image, 1280).pixels[None], [0.5])

    crops = align_faces(image, found.landmarks)

    assert len(crops) == 6
    for crop, landmarks in zip(crops, found.landmarks, strict=True):
        difference = np.abs(crop.astype(int) - norm_crop(image, landmarks).astype(int))
        assert difference.max() <= 1


def assert_batches_like_singles(engine, canvases):
    batch = engine.run(canvases, [0.3] * len(canvases))
    singles = [engine.run(canvas[None], [0.3])[0] for canvas in canvases]

    assert len({len(found.boxes) for found in batch}) > 1  # pictures that differ
    for together, alone in zip(batch, singles, strict=True):
        assert np.allclose(together.boxes, alone.boxes, atol=1e-2)
        assert np.allclose(together.landmarks, alone.landmarks, atol=1e-2)
        assert np.allclose(together.scores, alone.scores, atol=1e-4)


def differing_canvases():
    image = group_photo()
    left, right = image[:, :640], image[:, 640:]
    return stack(*(letterbox(part, 320, "square") for part in (image, left, right, left[:400])))


@pytest.mark.models
def test_a_batch_of_centerface_equals_single_runs():
    assert_batches_like_singles(detector(), differing_canvases())


@pytest.mark.eval
def test_a_batch_of_scrfd_equals_single_runs(tmp_path):
    assert_batches_like_singles(our_scrfd(tmp_path), differing_canvases())


@pytest.mark.models
@pytest.mark.parametrize(("slot", "side"), [("arcface", 112), ("facenet", 160)])
def test_a_batch_of_crops_equals_single_runs(slot, side):
    image, engine = group_photo(), embedder(slot)
    crops = np.stack([image[100:, x:][:side, :side] for x in range(0, 1000, 111)])

    batch = engine.run(crops)

    singles = np.concatenate([engine.run(crop[None]) for crop in crops])
    assert np.allclose(batch, singles, atol=1e-5)
    assert np.allclose(np.linalg.norm(batch, axis=1), 1, atol=1e-5)
    assert engine.run(crops[:0]).shape == (0, 512)
