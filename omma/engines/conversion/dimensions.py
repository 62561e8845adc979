"""ONNX files whose declared shapes are narrower than what their graphs can do."""

import numpy as np
import onnx
from onnx import numpy_helper

from omma.engines.conversion.weights import flush_negligible


def free_dimensions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let the detector ``model`` take any batch, height and width.

    Its graph is convolutional; only the declared shapes are fixed.
    """
    (image,) = _inputs(model)
    _declare(image, {0: "batch", 2: "height", 3: "width"})
    for output in model.graph.output:
        _declare(output, {axis: f"{output.name}_{axis}" for axis in _free_axes(output)})
    _forget_shapes(model)
    return model


def free_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let the recogniser ``model`` take any batch: its last Reshape flattens to one row."""
    (image,) = _inputs(model)
    for output in model.graph.output:
        _keep_rows(model, output)
        _declare(output, {0: "batch"})
    _declare(image, {0: "batch"})
    _forget_shapes(model)
    flush_negligible(model)
    return model


def input_shape(model: onnx.ModelProto) -> list[int]:
    """The declared shape of the only input; 0 where a dimension is open."""
    (image,) = _inputs(model)
    return [dimension.dim_value for dimension in image.type.tensor_type.shape.dim]


def named_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Call the first dimension of every input and output ``batch``."""
    for value in (*model.graph.input, *model.graph.output):
        _declare(value, {0: "batch"})
    _forget_shapes(model)
    return model


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Drop weights from the inputs, where old exporters list them and block constant folding."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return list(model.graph.input)


def _free_axes(output: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Rows of a matrix; batch, height and width of a map; channels stay."""
    rank = len(output.type.tensor_type.shape.dim)
    return (0, 2, 3) if rank == 4 else (0,)  # noqa: PLR2004  a map is n, c, h, w


def _declare(value: onnx.ValueInfoProto, names: dict[int, str]) -> None:
    dimensions = value.type.tensor_type.shape.dim
    for axis, name in names.items():
        dimensions[axis].dim_param = name


def _keep_rows(model: onnx.ModelProto, output: onnx.ValueInfoProto) -> None:
    columns = output.type.tensor_type.shape.dim[1].dim_value
    reshapes = [n for n in model.graph.node if output.name in n.output and n.op_type == "Reshape"]
    for node in reshapes:
        (shape,) = (t for t in model.graph.initializer if t.name == node.input[1])
        rows = numpy_helper.from_array(np.array([-1, columns], np.int64), shape.name)
        shape.CopyFrom(rows)


def _forget_shapes(model: onnx.ModelProto) -> None:
    del model.graph.value_info[:]  # inferred for the old sizes: the runtime would trust them
