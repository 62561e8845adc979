"""SCRFD: InsightFace's anchor-based detectors, in true batches from the stock files."""

from collections.abc import Sequence
from itertools import islice

import numpy as np
from jaxtyping import Float32, UInt8

from omma.domain.errors import ModelCorrupt
from omma.engines.session import OnnxSession
from omma.engines.suppression import suppress
from omma.engines.tensors import planar
from omma.ports.faces import Candidates

STRIDES = (8, 16, 32)  # px of canvas per cell
ANCHORS = 2  # per cell
MAX_IOU = 0.4
OUTPUTS = 9  # score, box and landmarks at every stride


class Scrfd:
    """The detector of https://arxiv.org/abs/2105.04714 with five landmarks."""

    def __init__(self, session: OnnxSession) -> None:
        if session.output_count != OUTPUTS:
            raise ModelCorrupt(f"expected {OUTPUTS} outputs, got {session.output_count}")
        self._session = session

    def run(
        self, canvases: UInt8[np.ndarray, "n h w 3"], min_scores: Sequence[float]
    ) -> list[Candidates]:
        """One `Candidates` per canvas, best score first."""
        thresholds = iter(min_scores)
        return [
            found
            for part in self._session.parts(canvases)
            for found in self._run(part, list(islice(thresholds, len(part))))
        ]

    def _run(
        self, canvases: UInt8[np.ndarray, "n h w 3"], min_scores: list[float]
    ) -> list[Candidates]:
        outputs = self._session.run(planar(canvases, mean=127.5, std=128))
        count, height, width = canvases.shape[:3]
        levels = [
            [_by_image(outputs[level + kind], count) for kind in (0, 3, 6)]
            for level in range(len(STRIDES))
        ]
        centres = [_centres(height // stride, width // stride, stride) for stride in STRIDES]
        return [
            _decode([[o[image] for o in level] for level in levels], centres, min_score)
            for image, min_score in enumerate(min_scores)
        ]


def _by_image(rows: Float32[np.ndarray, "r c"], count: int) -> Float32[np.ndarray, "n k c"]:
    """Rows of a batch come ordered cell, image, anchor: give every image its own."""
    channels = rows.shape[1]
    cells = rows.reshape(-1, count, ANCHORS, channels)
    return cells.transpose(1, 0, 2, 3).reshape(count, -1, channels)


def _centres(height: int, width: int, stride: int) -> Float32[np.ndarray, "k 2"]:
    """Where each anchor sits, x and y in px of the canvas."""
    rows, columns = np.mgrid[:height, :width]
    cells = np.stack([columns, rows], axis=-1).reshape(-1, 2) * stride
    return cells.repeat(ANCHORS, axis=0).astype(np.float32)


def _decode(
    levels: list[list[Float32[np.ndarray, "k c"]]],
    centres: list[Float32[np.ndarray, "k 2"]],
    min_score: float,
) -> Candidates:
    boxes, landmarks, scores = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for (score, distance, points), centre, stride in zip(levels, centres, STRIDES, strict=True):
        chosen = np.flatnonzero(score[:, 0] >= min_score)
        at = centre[chosen]
        reach = distance[chosen] * np.float32(stride)
        boxes.append(np.concatenate([at - reach[:, :2], at + reach[:, 2:]], axis=1))
        landmarks.append(at[:, None] + points[chosen].reshape(-1, 5, 2) * np.float32(stride))
        scores.append(score[chosen, 0])
    return suppress(
        np.concatenate(boxes), np.concatenate(landmarks), np.concatenate(scores), MAX_IOU
    )
