"""How whole images are framed, and what the published weights are called."""

import json
import tarfile
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest

from omma.domain.errors import CannotStart, TooManyPixels, UndecodableImage
from omma.domain.models import Framing, image_space
from omma.engines.conversion import tfjs
from omma.engines.conversion.runner import VERSIONS
from omma.engines.framing import frame
from omma.engines.loading import framing_of, load_image_embedder
from omma.engines.resnet import BGR_MEANS, ResNet
from omma.vision.images import ImageLimits
from tests.model_fakes import model
from tests.samples import encode, picture
from tests.weights import ENGINE

WHOLE = {"slot": "embedding", "family": "fake", "framing": Framing.STRETCH_224, "dimension": 64}


class Session:
    """Keeps what it is given; answers the mean of every channel."""

    def __init__(self):
        self.given = []

    def parts(self, batch):
        return [batch] if len(batch) else []

    def run(self, inputs):
        self.given.append(inputs)
        return [inputs.mean(axis=(1, 2))]


def test_an_image_is_given_as_caffe_took_it():
    session = Session()
    red = np.zeros((1, 224, 224, 3), np.uint8)
    red[..., 0] = 200

    [vector] = ResNet(session, 3).run(red)

    np.testing.assert_allclose(session.given[0][0, 0, 0], [0, 0, 200] - BGR_MEANS, rtol=1e-6)
    assert session.given[0].dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_no_images_have_no_vectors():
    assert ResNet(Session(), 512).run(np.zeros((0, 224, 224, 3), np.uint8)).shape == (0, 512)


@pytest.mark.parametrize("size", [(640, 480), (100, 2000), (3, 5), (224, 224)])
def test_an_image_of_any_shape_is_stretched_to_the_models_size(size):
    width, height = size
    pixels = np.full((height, width, 3), 77, np.uint8)

    framed = frame(encode(pixels, "PNG"), ImageLimits(), Framing.STRETCH_224)

    assert framed.pixels.shape == (224, 224, 3)
    assert (framed.width_px, framed.height_px) == size
    assert (framed.pixels == 77).all()


def test_a_large_picture_is_decoded_smaller_and_still_whole():
    pixels = np.zeros((1800, 2400, 3), np.uint8)
    pixels[:, 1200:] = 255  # what is right stays right
    data = encode(pixels, "JPEG")

    framed = frame(data, ImageLimits(), Framing.STRETCH_224)

    assert (framed.width_px, framed.height_px) == (2400, 1800)
    assert framed.pixels[:, :100].max() < 10
    assert framed.pixels[:, 124:].min() > 245


def test_limits_and_damage_are_the_domains_errors():
    with pytest.raises(UndecodableImage):
        frame(b"no image", ImageLimits(), Framing.STRETCH_224)
    with pytest.raises(TooManyPixels):
        frame(encode(picture(), "PNG"), ImageLimits(max_pixels=10), Framing.STRETCH_224)


def test_a_space_is_named_after_the_model_its_framing_and_its_weights():
    one, other = model("r", **WHOLE), model("r", b"other weights", **WHOLE)

    assert image_space(one).startswith("r:stretch_224:")
    assert image_space(one) != image_space(other)


def test_a_fake_family_needs_no_weights(tmp_path):
    engine = load_image_embedder(model(**WHOLE), tmp_path / "none", ENGINE)

    assert engine.run(np.full((2, 224, 224, 3), 9, np.uint8)).shape == (2, 64)


def test_a_model_of_something_else_is_refused():
    with pytest.raises(CannotStart, match="whole images, got 'm'"):
        framing_of(model())


@pytest.mark.parametrize(
    ("keras", "published"),
    [
        ("conv1_conv", "conv1"),
        ("conv1_bn", "bn_conv1"),
        ("conv2_block1_0_conv", "res2a_branch1"),
        ("conv2_block1_1_conv", "res2a_branch2a"),
        ("conv4_block6_2_bn", "bn4f_branch2b"),
        ("conv5_block3_3_bn", "bn5c_branch2c"),
        ("predictions", "fc1000"),
    ],
)
def test_layers_go_by_their_published_names(keras, published):
    assert tfjs.published_name(keras) == published


def test_arrays_are_read_across_shards_in_the_order_of_the_manifest(tmp_path):
    values = np.arange(10, dtype="<f4")
    weights = [{"name": "a/kernel", "shape": [2, 3]}, {"name": "b/bias", "shape": [4]}]
    manifest = {"weightsManifest": [{"paths": ["one", "two"], "weights": weights}]}
    files = {
        "model.json": json.dumps(manifest).encode(),
        "one": values.tobytes()[:17],  # in the midst of a number
        "two": values.tobytes()[17:],
    }
    archive = tmp_path / "original.tgz"
    with tarfile.open(archive, "w:gz") as tarred:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{tfjs.FOLDER}/{name}")
            entry.size = len(content)
            tarred.addfile(entry, BytesIO(content))

    read = tfjs.read(archive)

    assert read["a/kernel"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read["b/bias"].tolist() == [6, 7, 8, 9]


def test_every_conversion_has_a_version():
    assert SimpleNamespace(**VERSIONS).tfjs_resnet50 == 1
