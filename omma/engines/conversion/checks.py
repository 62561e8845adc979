"""The same images through the published and the converted file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from omma.engines.session import OnnxSession

OPEN_SHAPE = (1, 3, 640, 640)  # where the original leaves a dimension open
SEED = 20180402
MAP_RANK = 4  # n, c, h, w

Outputs = Sequence[Float32[np.ndarray, "..."]]


def noise(shape: Sequence[int]) -> Float32[np.ndarray, "..."]:
    """Images of no meaning, from -1 to 1, always the same."""
    return np.random.default_rng(SEED).uniform(-1, 1, shape).astype(np.float32)


def of_dimensions(original: Path, converted: Path, declared: Sequence[int]) -> float:
    """How far answers differ at the ``declared`` size, and between a batch and its parts.

    ``declared`` is the original's input shape, 0 where it leaves a dimension open.
    """
    shape = [size or default for size, default in zip(declared, OPEN_SHAPE, strict=True)]
    images = noise(shape)
    before, after = OnnxSession(original), OnnxSession(converted)
    same = largest(before.run(images), after.run(images))
    pair = noise((2, *shape[1:]))
    parts = [after.run(pair[:1]), after.run(pair[1:])]
    joined = [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]
    return max(same, largest(_sorted(joined), _sorted(after.run(pair))))


def largest(a: Outputs, b: Outputs) -> float:
    """The largest absolute difference of any value; infinite when the shapes differ."""
    if [x.shape for x in a] != [x.shape for x in b]:
        return float("inf")
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


def _sorted(outputs: Outputs) -> Outputs:
    """Order the rows of matrices: SCRFD interleaves its images' rows, which the engine undoes."""
    return [x if x.ndim == MAP_RANK else np.sort(x, axis=0) for x in outputs]
