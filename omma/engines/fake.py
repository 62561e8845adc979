"""Stand-ins for face models: deterministic, instant, no weights."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from omma.ports.faces import Candidates

BRIGHT = 200  # of 255 in every channel
MIN_SIDE_PX = 8
MAX_FACES = 50
# Five points of an upright face, as fractions of its box.
FACE_POINTS = np.array(
    [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], dtype=np.float32
)


class FakeDetector:
    """Takes every bright patch for a face, the larger the surer: 0.99, 0.98, and so on."""

    def run(
        self, canvases: UInt8[np.ndarray, "n h w 3"], min_scores: Sequence[float]
    ) -> list[Candidates]:
        """One `Candidates` per canvas, best score first."""
        return [_candidates(*each) for each in zip(canvases, min_scores, strict=True)]


class FakeEmbedder:
    """Hashes a crop's colours to a direction: equal crops agree, other colours differ."""

    def __init__(self, dimension: int = 512) -> None:
        random = np.random.default_rng(seed=dimension)
        self._directions = random.standard_normal((8 * 8 * 3, dimension)).astype(np.float32)

    def run(self, crops: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors, one per crop."""
        cells = np.zeros((len(crops), 8, 8, 3), dtype=np.float32)
        for row, crop in zip(cells, crops, strict=True):
            cv2.resize(crop.astype(np.float32), (8, 8), dst=row, interpolation=cv2.INTER_AREA)
        vectors = (cells.reshape(len(crops), 8 * 8 * 3) - 127.5) @ self._directions
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _candidates(canvas: UInt8[np.ndarray, "h w 3"], min_score: float) -> Candidates:
    boxes = _bright_boxes(canvas)
    scores = np.float32(0.99) - np.float32(0.01) * np.arange(len(boxes), dtype=np.float32)
    boxes, scores = boxes[scores >= min_score], scores[scores >= min_score]
    sides = boxes[:, None, 2:] - boxes[:, None, :2]
    return Candidates(boxes, boxes[:, None, :2] + FACE_POINTS * sides, scores)


def _bright_boxes(canvas: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "n 4"]:
    bright = (canvas.min(axis=2) >= BRIGHT).astype(np.uint8)
    stats = np.asarray(cv2.connectedComponentsWithStats(bright)[2], dtype=np.int32)
    x, y, width, height, area = stats[1:].T  # the first component is what is not bright
    boxes = np.stack([x, y, x + width, y + height], axis=1).astype(np.float32)
    large = np.minimum(width, height) >= MIN_SIDE_PX
    order = np.argsort(-area[large], kind="stable")[:MAX_FACES]
    return boxes[large][order]
