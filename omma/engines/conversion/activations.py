"""Activations and scales rewritten into what ONNX Runtime's CPU kernels fuse."""

# onnx declares its functions in part.
# pyright: reportUnknownMemberType=false

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from jaxtyping import Float32
from onnx import NodeProto, TensorProto, helper, numpy_helper


def unfold_prelu(model: onnx.ModelProto) -> None:
    """Replace every PRelu with a slope per channel by depthwise convolutions, in place.

    ONNX Runtime has no PRelu kernel for the blocked layout of its convolutions, and reorders the
    tensor around each one. ``prelu(x) = x + (1 - a) relu(-x)`` for any slope ``a``: two 1x1
    depthwise convolutions, of which the first ends in its Relu and the second takes the sum.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        slopes = weights.get(node.input[1]) if node.op_type == "PRelu" else None
        if slopes is None or not _is_per_channel(slopes):
            nodes.append(node)
        else:
            nodes += _unfolded(model, node, numpy_helper.to_array(slopes).reshape(-1))
    _replace_nodes(model, nodes)


def fold_scales(model: onnx.ModelProto) -> None:
    """Move every multiplication of a convolution's output by a constant into its weights, in place.

    The residual blocks of Inception-ResNet end in such a scale; without it the sum that follows
    is taken by the convolution.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = _readers(model)
    convolutions = {node.output[0]: node for node in model.graph.node if node.op_type == "Conv"}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        found = _scaled(node, convolutions, weights)
        if found is None or readers[found[0].output[0]] != 1:
            nodes.append(node)
            continue
        convolution, scale = found
        _scale(model, convolution, weights, scale)
        convolution.output[0] = node.output[0]
    _replace_nodes(model, nodes)


def _is_per_channel(slopes: TensorProto) -> bool:
    """Whether ``slopes`` has the shape ``(c, 1, 1)``."""
    return len(slopes.dims) == 3 and list(slopes.dims[1:]) == [1, 1]  # noqa: PLR2004


def _unfolded(
    model: onnx.ModelProto, prelu: NodeProto, slopes: Float32[np.ndarray, " c"]
) -> Iterator[NodeProto]:
    x, y = prelu.input[0], prelu.output[0]
    yield _depthwise(model, x, -np.ones_like(slopes), f"{y}_turned")
    yield helper.make_node("Relu", [f"{y}_turned"], [f"{y}_below"])
    yield _depthwise(model, f"{y}_below", 1 - slopes, f"{y}_bent")
    yield helper.make_node("Add", [f"{y}_bent", x], [y])


def _depthwise(
    model: onnx.ModelProto, x: str, factors: Float32[np.ndarray, " c"], y: str
) -> NodeProto:
    """``y = factors * x``, channel by channel, as a 1x1 convolution."""
    kernel = numpy_helper.from_array(factors.reshape(-1, 1, 1, 1), f"{y}_factors")
    model.graph.initializer.append(kernel)
    return helper.make_node("Conv", [x, kernel.name], [y], group=len(factors), kernel_shape=[1, 1])


def _readers(model: onnx.ModelProto) -> Mapping[str, int]:
    """How many read each tensor, the graph's outputs counted."""
    counts: dict[str, int] = {}
    read = [name for node in model.graph.node for name in node.input]
    for name in (*read, *(output.name for output in model.graph.output)):
        counts[name] = counts.get(name, 0) + 1
    return counts


def _scaled(
    node: NodeProto, convolutions: Mapping[str, NodeProto], weights: Mapping[str, TensorProto]
) -> tuple[NodeProto, float] | None:
    """The convolution whose output ``node`` multiplies by one number, and the number."""
    if node.op_type != "Mul":
        return None
    for x, factor in (node.input, reversed(node.input)):
        tensor = weights.get(factor)
        if x in convolutions and tensor is not None and np.prod(tensor.dims) == 1:
            return convolutions[x], numpy_helper.to_array(tensor).item()
    return None


def _scale(
    model: onnx.ModelProto,
    convolution: NodeProto,
    weights: Mapping[str, TensorProto],
    scale: float,
) -> None:
    """Multiply kernel and bias, as tensors of the convolution's own: others may read the old."""
    for place, name in enumerate(convolution.input[1:], start=1):
        values = numpy_helper.to_array(weights[name]) * np.float32(scale)
        scaled = numpy_helper.from_array(values, f"{convolution.output[0]}_{place}_scaled")
        model.graph.initializer.append(scaled)
        convolution.input[place] = scaled.name


def _replace_nodes(model: onnx.ModelProto, nodes: list[NodeProto]) -> None:
    """Put ``nodes`` in place of the graph's, and drop the weights that none of them reads."""
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
