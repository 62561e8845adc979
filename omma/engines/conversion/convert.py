"""One conversion, with the proof that it changed nothing that matters."""

# onnx declares its functions in part.
# pyright: reportUnknownMemberType=false

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnx

from omma.domain.errors import ConversionFailed
from omma.domain.models import Conversion, Converted
from omma.engines.conversion import activations, checks, dimensions, tfjs
from omma.engines.conversion.runner import KEEPS_PRELU, VERSIONS
from omma.engines.session import OnnxSession
from omma.vision.vectors import l2_normalise

TOLERANCE = 1e-4  # of any output value; embeddings are unit vectors, scores lie in 0-1


def convert(conversion: Conversion, original: Path, target: Path) -> Converted:
    """Write ``target`` and compare; `ConversionFailed` leaves no file behind."""
    match conversion:
        case Conversion.FREE_DIMENSIONS:
            difference = _widened(dimensions.free_dimensions, original, target)
            tools = ("onnx", "onnxruntime")
        case Conversion.FREE_BATCH:
            difference = _widened(_recogniser, original, target)
            tools = ("onnx", "onnxruntime")
        case Conversion.FROZEN_GRAPH:
            difference = _from_tensorflow(original, target)
            tools = ("tensorflow", "tf2onnx", "onnx", "onnxruntime")
        case Conversion.TFJS_RESNET50:
            difference = _from_tfjs(original, target)
            tools = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime")
    if not difference <= TOLERANCE:  # a NaN fails too
        target.unlink()
        raise ConversionFailed(
            f"{original}: answers differ by {difference:.2g}, expected at most {TOLERANCE}"
        )
    versions = {tool: _version(tool) for tool in tools}
    return Converted(conversion, VERSIONS[conversion], difference, TOLERANCE, versions)


def _widened(
    widen: Callable[[onnx.ModelProto], onnx.ModelProto], original: Path, target: Path
) -> float:
    model = onnx.load(original)
    declared = dimensions.input_shape(model)
    onnx.save(widen(model), target)
    return checks.of_dimensions(original, target, declared)


def _recogniser(model: onnx.ModelProto) -> onnx.ModelProto:
    model = dimensions.free_batch(model)
    if not KEEPS_PRELU:
        activations.unfold_prelu(model)
    return model


def _from_tensorflow(original: Path, target: Path) -> float:
    from omma.engines.conversion import frozen_graph  # noqa: PLC0415  TensorFlow takes seconds

    graph = frozen_graph.read(original)
    model = dimensions.named_batch(frozen_graph.to_onnx(graph))
    activations.fold_scales(model)
    onnx.save(model, target)
    images = checks.noise((3, frozen_graph.SIDE_PX, frozen_graph.SIDE_PX, 3))
    expected = frozen_graph.embed(graph, images)
    return checks.largest([expected], OnnxSession(target).run(images))


def _from_tfjs(original: Path, target: Path) -> float:
    from omma.engines.conversion import tfjs_resnet50 as resnet  # noqa: PLC0415  as above

    model = resnet.build(tfjs.read(original))
    onnx.save(dimensions.named_batch(resnet.to_onnx(model)), target)
    images = 128 * checks.noise((3, resnet.SIDE_PX, resnet.SIDE_PX, 3))
    expected = l2_normalise(resnet.embed(model, images))
    return checks.largest([expected], [l2_normalise(OnnxSession(target).run(images)[0])])


def _version(tool: str) -> str:
    try:
        return version(tool)
    except PackageNotFoundError:  # the same library under its other name
        return version(f"{tool}-gpu")
