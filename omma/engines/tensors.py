"""Images as the tensors that networks take."""

import numpy as np
from jaxtyping import Float32, UInt8


def planar(
    images: UInt8[np.ndarray, "n h w 3"], *, mean: float = 0.0, std: float = 1.0
) -> Float32[np.ndarray, "n 3 h w"]:
    """``(images - mean) / std`` with the channels first.

    A copy and a scaling in place: 640x480 takes 0.7 ms, ``cv2.dnn.blobFromImages`` 4.5 ms.
    """
    tensor = np.empty((len(images), 3, *images.shape[1:3]), np.float32)
    np.copyto(tensor, images.transpose(0, 3, 1, 2))
    return _standardise(tensor, mean, std)


def interleaved(
    images: UInt8[np.ndarray, "n h w 3"], *, mean: float = 0.0, std: float = 1.0
) -> Float32[np.ndarray, "n h w 3"]:
    """``(images - mean) / std`` with the channels last."""
    return _standardise(images.astype(np.float32), mean, std)


def _standardise(
    tensor: Float32[np.ndarray, "..."], mean: float, std: float
) -> Float32[np.ndarray, "..."]:
    if mean:
        np.subtract(tensor, np.float32(mean), out=tensor)
    if std != 1:
        np.multiply(tensor, np.float32(1 / std), out=tensor)
    return tensor
