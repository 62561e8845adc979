"""Arrays as jobs keep them."""

import io

import numpy as np
from jaxtyping import Float32


def npy(values: Float32[np.ndarray, " d"]) -> bytes:
    """``values`` as a file that `numpy.load` opens, float32 in any case."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(values, np.float32), allow_pickle=False)
    return file.getvalue()
