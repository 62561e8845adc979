"""A TensorFlow 1 frozen graph, reduced to inference and written as ONNX."""

# Neither TensorFlow nor tf2onnx declares its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from jaxtyping import Float32
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

OPSET = 18  # the newest that tf2onnx 1.17 writes; onnxruntime 1.31 reads up to 26
SIDE_PX = 160
IMAGES = "image_batch"
TRAINING = "phase_train"
OUTPUT = "embeddings"


def read(source: Path) -> GraphDef:
    """Read the graph as published."""
    graph = GraphDef()
    graph.ParseFromString(source.read_bytes())
    return graph


def to_onnx(graph: GraphDef) -> onnx.ModelProto:
    """Write ``graph`` with training off: input `(n, 160, 160, 3)`, output `embeddings`."""
    model, _ = tf2onnx.convert.from_graph_def(
        inference_only(graph),
        input_names=[f"{IMAGES}:0"],
        output_names=[f"{OUTPUT}:0"],
        opset=OPSET,
    )
    return model


def embed(graph: GraphDef, images: Float32[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n d"]:
    """Run the published ``graph`` by TensorFlow itself, training off."""
    with tf.Graph().as_default() as runnable:
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=runnable) as session:
            feed = {f"{IMAGES}:0": images, f"{TRAINING}:0": False}
            return session.run(f"{OUTPUT}:0", feed)


def inference_only(graph: GraphDef) -> GraphDef:
    """Resolve every Switch and Merge on `phase_train` to the branch of inference.

    The published graph holds each batch normalisation twice, under a condition that would
    become 448 ONNX subgraphs, and reads its images from a queue; neither is of use here.
    """
    alive = _resolve(graph)
    wanted, stack = set[str](), [OUTPUT]
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack += [_producer(tensor) for tensor in alive[name].input]
    return GraphDef(versions=graph.versions, node=[n for k, n in alive.items() if k in wanted])


def _resolve(graph: GraphDef) -> dict[str, NodeDef]:
    """Nodes that run in inference, reading past the conditions."""
    alias: dict[str, str | None] = {}  # tensor -> what it equals in inference, None: never runs
    alive: dict[str, NodeDef] = {}
    for node in _producers_first(graph):
        inputs = [alias.get(tensor, tensor) for tensor in node.input if tensor[0] != "^"]
        if node.op == "Switch":
            alias |= {node.name: inputs[0], f"{node.name}:1": None}  # output 1 is "training"
        elif node.op == "Merge":
            alias[node.name] = next((tensor for tensor in inputs if tensor is not None), None)
        elif node.name == IMAGES:
            alive[node.name] = _images()
        elif None in inputs:
            alias[node.name] = None
        else:
            alive[node.name] = _with_inputs(node, [str(tensor) for tensor in inputs])
    return alive


def _producers_first(graph: GraphDef) -> list[NodeDef]:
    nodes = {node.name: node for node in graph.node}
    order = TopologicalSorter({n.name: [_producer(t) for t in n.input] for n in graph.node})
    return [nodes[name] for name in order.static_order()]


def _with_inputs(node: NodeDef, inputs: list[str]) -> NodeDef:
    copy = NodeDef()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(inputs)
    return copy


def _images() -> NodeDef:
    node = NodeDef(name=IMAGES, op="Placeholder")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    shape = tf.TensorShape([None, SIDE_PX, SIDE_PX, 3])
    node.attr["shape"].shape.CopyFrom(shape.as_proto())
    return node


def _producer(tensor: str) -> str:
    return tensor.removeprefix("^").split(":", maxsplit=1)[0]
