"""A ResNet50 published for TensorFlow.js, its weights put into Keras' own and written as ONNX."""

# Neither TensorFlow, Keras nor tf2onnx declares its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportUnknownParameterType=false

from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from jaxtyping import Float32

from omma.engines.conversion.tfjs import Weights, published_name

keras: Any = tf.keras  # TensorFlow's own, which has no types
OPSET = 18  # the newest that tf2onnx 1.17 writes; onnxruntime 1.31 reads up to 26
SIDE_PX = 224
FEATURES = "conv5_block3_2_relu"  # its global average tells scenes and things apart, in 512 values
EPSILON = 1e-3  # of the published batch normalisations; Keras' ResNet50 has 1.001e-5


def build(weights: Weights) -> Any:
    """Keras' ResNet50 with these ``weights``, up to the average of `FEATURES`."""
    whole = keras.applications.ResNet50(weights=None)
    for layer in whole.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = EPSILON
        if layer.weights:
            name = published_name(layer.name)
            layer.set_weights([weights[f"{name}/{_role(each.path)}"] for each in layer.weights])
    features = whole.get_layer(FEATURES).output
    return keras.Model(whole.input, keras.layers.GlobalAveragePooling2D()(features))


def to_onnx(model: Any) -> onnx.ModelProto:
    """Write ``model``: input ``(n, 224, 224, 3)`` BGR less its means, output ``(n, 512)``."""
    images = tf.TensorSpec([None, SIDE_PX, SIDE_PX, 3], tf.float32, name="images")

    @tf.function  # pyright: ignore[reportUntypedFunctionDecorator]
    def inference(images: Any) -> Any:
        return {"features": model(images, training=False)}

    written, _ = tf2onnx.convert.from_function(inference, [images], opset=OPSET)
    return written


def embed(model: Any, images: Float32[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n d"]:
    """Run ``model`` by TensorFlow itself."""
    return np.asarray(model(images, training=False))


def _role(path: str) -> str:
    return path.rpartition("/")[2]
