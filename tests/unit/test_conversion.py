"""Files whose declared shapes are narrower than their graphs, widened and compared."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from omma.domain.errors import ConversionFailed
from omma.domain.models import Conversion
from omma.engines.conversion.activations import fold_scales
from omma.engines.conversion.checks import largest
from omma.engines.conversion.convert import convert
from omma.engines.conversion.runner import SubprocessConverter
from omma.engines.session import OnnxSession


def save(path, nodes, weights, output_shape, input_shape=(1, 3, 32, 32)):
    """An old-style ONNX file, whose weights are inputs too."""
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    declared = [
        helper.make_tensor_value_info(name, tensor.data_type, tensor.dims)
        for name, tensor in zip(weights, tensors, strict=True)
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, input_shape)
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, output_shape)
    graph = helper.make_graph(nodes, "graph", [image, *declared], [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, path)
    return path


@pytest.fixture
def detector(tmp_path):
    kernel = np.ones((2, 3, 3, 3), np.float32)
    conv = helper.make_node("Conv", ["image", "kernel"], ["output"], pads=[1, 1, 1, 1])
    return save(tmp_path / "detector.onnx", [conv], {"kernel": kernel}, (1, 2, 32, 32))


@pytest.fixture
def recogniser(tmp_path):
    weights = {"shape": np.array([1, -1], np.int64)}
    pool = helper.make_node("GlobalAveragePool", ["image"], ["pooled"])
    flat = helper.make_node("Reshape", ["pooled", "shape"], ["output"])
    return save(tmp_path / "recogniser.onnx", [pool, flat], weights, (1, 3))


def test_a_widened_detector_takes_any_batch_and_size(detector, tmp_path):
    target = tmp_path / "wide.onnx"

    convert(Conversion.FREE_DIMENSIONS, detector, target)

    [answer] = OnnxSession(target).run(np.zeros((3, 3, 64, 96), np.float32))
    assert answer.shape == (3, 2, 64, 96)


def test_a_widened_recogniser_answers_one_row_per_crop(recogniser, tmp_path):
    target = tmp_path / "wide.onnx"
    crops = np.arange(5, dtype=np.float32)[:, None, None, None] * np.ones(
        (1, 3, 32, 32), np.float32
    )

    convert(Conversion.FREE_BATCH, recogniser, target)

    [answer] = OnnxSession(target).run(crops)
    assert (answer == np.arange(5)[:, None]).all()


def test_a_conversion_records_how_far_the_answers_are_apart_and_by_which_tools(detector, tmp_path):
    converted = convert(Conversion.FREE_DIMENSIONS, detector, tmp_path / "wide.onnx")

    assert converted.max_difference <= converted.tolerance == 1e-4
    assert set(converted.tools) == {"onnx", "onnxruntime"}


def test_weights_stop_being_inputs(detector, tmp_path):
    convert(Conversion.FREE_DIMENSIONS, detector, tmp_path / "wide.onnx")

    model = onnx.load(tmp_path / "wide.onnx")
    assert [value.name for value in model.graph.input] == ["image"]


def test_a_graph_that_mixes_its_batch_fails_and_leaves_no_file(tmp_path):
    mean = helper.make_node("ReduceMean", ["image"], ["output"], axes=[0], keepdims=1)
    mixing = save(tmp_path / "mixing.onnx", [mean], {}, (1, 3, 32, 32))

    with pytest.raises(ConversionFailed, match="differ"):
        convert(Conversion.FREE_DIMENSIONS, mixing, tmp_path / "wide.onnx")

    assert not (tmp_path / "wide.onnx").exists()


def test_answers_that_are_no_numbers_are_no_match():
    nowhere = np.full((1, 2), np.nan, np.float32)

    assert not largest([nowhere], [nowhere]) <= 1e-4


def test_a_process_of_its_own_converts_and_reports(detector, tmp_path):
    converted = SubprocessConverter().convert(
        Conversion.FREE_DIMENSIONS, detector, tmp_path / "wide.onnx"
    )

    assert (tmp_path / "wide.onnx").exists()
    assert converted.version == SubprocessConverter().version(Conversion.FREE_DIMENSIONS)


def test_what_a_conversion_stumbled_over_reaches_the_user(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")

    with pytest.raises(ConversionFailed, match=r"broken\.onnx failed"):
        SubprocessConverter().convert(Conversion.FREE_BATCH, broken, tmp_path / "wide.onnx")


def test_a_conversion_that_takes_too_long_is_ended(detector, tmp_path):
    hasty = SubprocessConverter(timeout_s=0.01)

    with pytest.raises(ConversionFailed, match="less busy"):
        hasty.convert(Conversion.FREE_DIMENSIONS, detector, tmp_path / "wide.onnx")


def recogniser_with_slopes(path, slopes):
    """An old-style recogniser whose only activation bends by ``slopes``."""
    channels = len(slopes)
    kernel = np.random.default_rng(1).normal(size=(channels, 3, 3, 3)).astype(np.float32)
    bend = np.asarray(slopes, np.float32).reshape(-1, 1, 1)
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["mapped"], pads=[1, 1, 1, 1]),
        helper.make_node("PRelu", ["mapped", "slopes"], ["bent"]),
        helper.make_node("GlobalAveragePool", ["bent"], ["pooled"]),
        helper.make_node("Reshape", ["pooled", "shape"], ["output"]),
    ]
    weights = {"kernel": kernel, "slopes": bend, "shape": np.array([1, -1], np.int64)}
    return save(path, nodes, weights, (1, channels))


@pytest.mark.parametrize("slopes", [[0.25, 0, -0.5, 1], [0.25, 0, -0.5, 1.5]])
def test_a_bent_activation_becomes_convolutions_that_answer_the_same(tmp_path, slopes):
    original = recogniser_with_slopes(tmp_path / "bent.onnx", slopes)

    converted = convert(Conversion.FREE_BATCH, original, tmp_path / "wide.onnx")

    kinds = {node.op_type for node in onnx.load(tmp_path / "wide.onnx").graph.node}
    assert converted.max_difference < 1e-6
    assert "PRelu" not in kinds


def test_a_slope_for_every_channel_at_once_stays_an_activation(tmp_path):
    nodes = [
        helper.make_node("PRelu", ["image", "slope"], ["bent"]),
        helper.make_node("GlobalAveragePool", ["bent"], ["pooled"]),
        helper.make_node("Reshape", ["pooled", "shape"], ["output"]),
    ]
    weights = {"slope": np.full(1, 0.2, np.float32), "shape": np.array([1, -1], np.int64)}
    original = save(tmp_path / "one.onnx", nodes, weights, (1, 3))

    converted = convert(Conversion.FREE_BATCH, original, tmp_path / "wide.onnx")

    assert converted.max_difference == 0


def scaled_convolution(*, outputs):
    """A convolution, its scaled output, and ``outputs`` of the graph."""
    values = {"kernel": np.ones((2, 3, 1, 1)), "bias": np.ones(2), "scale": np.full(1, 0.17)}
    weights = [numpy_helper.from_array(v.astype(np.float32), name) for name, v in values.items()]
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["mapped"]),
        helper.make_node("Mul", ["scale", "mapped"], ["scaled"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 4, 4))
    declared = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2, 4, 4)) for name in outputs
    ]
    graph = helper.make_graph(nodes, "graph", [image], declared, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def answers(model, path):
    onnx.save(model, path)
    return OnnxSession(path).run(np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4))


def test_a_scale_behind_a_convolution_moves_into_its_weights(tmp_path):
    model = scaled_convolution(outputs=["scaled"])
    before = answers(model, tmp_path / "before.onnx")

    fold_scales(model)

    assert [node.op_type for node in model.graph.node] == ["Conv"]
    assert largest(before, answers(model, tmp_path / "after.onnx")) < 1e-6


def test_a_scale_stays_where_something_else_reads_what_it_scales(tmp_path):
    model = scaled_convolution(outputs=["scaled", "mapped"])
    before = answers(model, tmp_path / "before.onnx")

    fold_scales(model)

    assert [node.op_type for node in model.graph.node] == ["Conv", "Mul"]
    assert largest(before, answers(model, tmp_path / "after.onnx")) == 0
