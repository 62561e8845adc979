"""FaceNet: a 160x160 crop with a margin in, a unit vector out."""

import numpy as np
from jaxtyping import Float32, UInt8

from omma.engines.session import OnnxSession
from omma.engines.tensors import interleaved
from omma.vision.vectors import l2_normalise


class FaceNet:
    """The Inception-ResNet of https://arxiv.org/abs/1503.03832 as D. Sandberg trained it."""

    def __init__(self, session: OnnxSession, dimension: int) -> None:
        self._session = session
        self._dimension = dimension

    def run(self, crops: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors, one per crop."""
        vectors = [
            self._session.run(interleaved(part, mean=127.5, std=128))[0]
            for part in self._session.parts(crops)
        ]
        none = np.zeros((0, self._dimension), np.float32)
        return l2_normalise(np.concatenate([none, *vectors]))
