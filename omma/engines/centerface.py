"""CenterFace: a face is a peak of a heat map, with its size and five points beside it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from omma.engines.session import OnnxSession
from omma.engines.suppression import suppress
from omma.engines.tensors import planar
from omma.ports.faces import Candidates

STRIDE = 4  # px of canvas per cell of the maps
MAX_IOU = 0.3  # as the authors' own decoder


class CenterFace:
    """The detector of https://arxiv.org/abs/1911.03599 over canvases of any size."""

    def __init__(self, session: OnnxSession) -> None:
        self._session = session

    def run(
        self, canvases: UInt8[np.ndarray, "n h w 3"], min_scores: Sequence[float]
    ) -> list[Candidates]:
        """One `Candidates` per canvas, best score first."""
        thresholds = iter(min_scores)
        return [
            _decode(*maps, min_score=next(thresholds))
            for part in self._session.parts(canvases)
            for maps in zip(*self._session.run(planar(part)), strict=True)
        ]


def _decode(
    heat: Float32[np.ndarray, "1 h w"],
    scale: Float32[np.ndarray, "2 h w"],
    offset: Float32[np.ndarray, "2 h w"],
    points: Float32[np.ndarray, "10 h w"],
    *,
    min_score: float,
) -> Candidates:
    """Candidates of every cell that is hot enough; all maps order y before x."""
    rows, columns = np.nonzero(heat[0] >= min_score)
    cells = np.stack([rows, columns]).astype(np.float32) + np.float32(0.5)
    sides = np.exp(scale[:, rows, columns]) * STRIDE
    low = (cells + offset[:, rows, columns]) * STRIDE - sides / 2
    boxes = np.concatenate([low[::-1], (low + sides)[::-1]]).T
    spots = points[:, rows, columns].reshape(5, 2, -1) * sides + low
    landmarks = spots[:, ::-1].transpose(2, 0, 1)
    return suppress(boxes, landmarks, heat[0, rows, columns], MAX_IOU)
