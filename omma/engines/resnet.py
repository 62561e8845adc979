"""ResNet50 without its last layers: an image in, a unit vector of what is in it out."""

import numpy as np
from jaxtyping import Float32, UInt8

from omma.engines.session import OnnxSession
from omma.vision.vectors import l2_normalise

# Of ImageNet, in the order of BGR, as the first Caffe models took them.
BGR_MEANS = np.array([103.939, 116.779, 123.68], np.float32)


class ResNet:
    """The residual network of https://arxiv.org/abs/1512.03385, cut to ``dimension`` features."""

    def __init__(self, session: OnnxSession, dimension: int) -> None:
        self._session = session
        self._dimension = dimension

    def run(self, pixels: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors, one per RGB image of the model's input size."""
        vectors = [self._session.run(_as_caffe(part))[0] for part in self._session.parts(pixels)]
        none = np.zeros((0, self._dimension), np.float32)
        return l2_normalise(np.concatenate([none, *vectors]))


def _as_caffe(pixels: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n h w 3"]:
    return pixels[..., ::-1] - BGR_MEANS
