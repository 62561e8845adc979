"""Recognisers as they are published against what omma converts them to, in turn, on one thread.

The packs' large recogniser (w600k_r50) may be fetched only by who accepts its licence: a graph of
its shape with random weights stands for it. Its published file takes any batch; the others' are
first freed of their declared batch of one, which changes nothing else.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from benchmarks.report import report
from omma.engines.conversion.activations import unfold_prelu
from omma.engines.conversion.dimensions import free_batch
from omma.engines.session import OnnxSession
from omma.settings import Settings
from omma.stores.catalogue import Catalogue
from omma.stores.models import ModelFiles
from omma.vision.vectors import l2_normalise

FACES = (1, 8)
STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))  # channels and blocks of IResNet-50
CROP = (3, 112, 112)


def main() -> None:
    """Alternate published and converted runs; report medians and how many times as fast."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    args, _ = parser.parse_known_args()
    settings = Settings()
    model = Catalogue.read(settings.models_file).model("fr_feature")
    published = ModelFiles(settings.models_dir).original(model)
    rows: list[dict[str, object]] = []
    with TemporaryDirectory() as name:
        rows += _compared("fr_feature", onnx.load(published), Path(name), args.runs)
        rows += _compared("graph of w600k_r50's shape", _iresnet50(), Path(name), args.runs)
    report("recognisers", "one inference, one thread: as published, and as converted", rows)


def _compared(
    what: str, model: onnx.ModelProto, folder: Path, runs: int
) -> Iterator[dict[str, object]]:
    sessions: list[OnnxSession] = []
    for name, change in (("published", free_batch), ("converted", unfold_prelu)):
        change(model)
        onnx.save(model, folder / f"{name}.onnx")
        sessions.append(OnnxSession(folder / f"{name}.onnx"))
    for faces in FACES:
        crops = np.random.default_rng(0).uniform(-1, 1, (faces, *CROP)).astype(np.float32)
        times = [[_time_ms(session, crops) for session in sessions] for _ in range(runs)]
        before, after = (median(column) for column in zip(*times, strict=True))
        answers = [l2_normalise(session.run(crops)[0]) for session in sessions]
        yield {
            "what": f"{what}, faces: {faces}",
            "published_ms": before,
            "converted_ms": after,
            "times as fast": before / after,
            "largest difference": float(np.abs(answers[0] - answers[1]).max()),
        }


def _time_ms(session: OnnxSession, crops: np.ndarray) -> float:
    started = time.perf_counter()
    session.run(crops)
    return (time.perf_counter() - started) * 1000


def _iresnet50() -> onnx.ModelProto:
    """Blocks of BatchNormalization, Conv, PRelu, Conv and Add, as InsightFace exports them."""
    graph = _Graph()
    x = graph.prelu(graph.conv("image", 3, 64), 64)
    width = 64
    for channels, blocks in STAGES:
        for block in range(blocks):
            stride = 2 if block == 0 else 1
            bent = graph.prelu(graph.conv(graph.norm(x, width), width, channels), channels)
            mapped = graph.conv(bent, channels, channels, stride=stride)
            if stride == 2:  # noqa: PLR2004  the side halves, and the shortcut with it
                x = graph.conv(x, width, channels, side=1, stride=stride)
            x, width = graph.add("Add", mapped, x), channels
    flat = graph.add("Flatten", graph.norm(x, width))
    return graph.model(graph.add("Gemm", flat, graph.weight(width * 7 * 7, 512)))


class _Graph:
    """A network under construction; every method answers the name of its output."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._nodes: list[NodeProto] = []
        self._weights: list[TensorProto] = []

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        output = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def weight(self, *shape: int) -> str:
        values = self._random.normal(size=shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))
        return self._store(values)

    def conv(self, x: str, width: int, channels: int, *, side: int = 3, stride: int = 1) -> str:
        pads, kernel = [side // 2] * 4, self.weight(channels, width, side, side)
        return self.add("Conv", x, kernel, pads=pads, strides=[stride, stride])

    def prelu(self, x: str, channels: int) -> str:
        return self.add("PRelu", x, self._store(self._random.uniform(-0.5, 0.5, (channels, 1, 1))))

    def norm(self, x: str, channels: int) -> str:
        ones, zeros = np.ones(channels), np.zeros(channels)
        values = [self._store(each) for each in (ones, zeros, zeros, ones)]
        return self.add("BatchNormalization", x, *values)

    def model(self, output: str) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", *CROP))
        answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, ("n", 512))
        graph = helper.make_graph(self._nodes, "iresnet50", [image], [answer], self._weights)
        opset = helper.make_opsetid("", 11)
        return helper.make_model(graph, opset_imports=[opset], ir_version=6)

    def _store(self, values: np.ndarray) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name


if __name__ == "__main__":
    main()
