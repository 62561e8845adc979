"""The default image model on real pictures: what looks alike lies near, whatever its encoding."""

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage

from omma.domain.models import Framing
from omma.engines.framing import frame
from omma.settings import Settings
from omma.stores.models import ModelFiles
from omma.vision.images import ImageLimits
from tests.samples import encode
from tests.weights import image_embedder, image_model, runnable

pytestmark = pytest.mark.models

PICTURES = Path(skimage.__file__).parent / "data"
NAMES = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg", "retina.jpg", "horse.png")


@functools.cache
def engine():
    return image_embedder()


def framed(data):
    return frame(data, ImageLimits(), Framing.STRETCH_224).pixels


@functools.cache
def pixels(name):
    bgr = cv2.imread(str(PICTURES / name), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(bgr[..., ::-1])


@functools.cache
def originals():
    return embed(*(pixels(name) for name in NAMES))


def embed(*images):
    return engine().run(np.stack([framed(encode(image, "PNG")) for image in images]))


def test_the_converted_model_answers_as_keras_does():
    runnable(image_model())
    record = ModelFiles(Settings().models_dir).record(image_model())

    assert record.converted.max_difference <= record.converted.tolerance == 1e-4
    assert "keras" in record.converted.tools


def test_vectors_have_512_values_and_unit_length():
    vectors = originals()

    assert vectors.shape == (len(NAMES), 512)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_batch_answers_as_its_images_alone():
    alone = np.concatenate([embed(pixels(name)) for name in NAMES])

    np.testing.assert_allclose(originals(), alone, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image[image.shape[0] // 10 :, image.shape[1] // 10 :],
        lambda image: np.ascontiguousarray(image[:, ::-1]),
        lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        lambda image: cv2.convertScaleAbs(image, alpha=1.2, beta=10),
    ],
    ids=["cropped", "mirrored", "halved", "brighter"],
)
def test_a_changed_picture_is_nearest_to_its_original(change):
    changed = embed(*(change(pixels(name)) for name in NAMES))

    assert ((changed @ originals().T).argmax(axis=1) == np.arange(len(NAMES))).all()


def test_a_large_jpeg_lies_where_the_lossless_picture_does():
    large = cv2.resize(pixels("coffee.png"), (2400, 1600), interpolation=cv2.INTER_CUBIC)
    vectors = engine().run(np.stack([framed(encode(large, "JPEG")), framed(encode(large, "PNG"))]))

    assert vectors[0] @ vectors[1] > 0.98
