"""What every detector does last: keep the best candidates that do not overlap."""

import numpy as np
from jaxtyping import Float32

from omma.ports.faces import Candidates
from omma.vision.boxes import nms

# A small face gives ten candidates or so, and the worst of them go first. What a low threshold
# lets through beyond these is noise, and comparing all 25,600 cells of a canvas would take seconds.
MAX_CANDIDATES = 2000


def suppress(
    boxes: Float32[np.ndarray, "n 4"],
    landmarks: Float32[np.ndarray, "n 5 2"],
    scores: Float32[np.ndarray, " n"],
    max_iou: float,
) -> Candidates:
    """The candidates that no better one overlaps by more than ``max_iou``, best score first."""
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    boxes, landmarks, scores = boxes[order], landmarks[order], scores[order]
    kept = nms(boxes, scores, max_iou)
    return Candidates(boxes[kept], landmarks[kept], scores[kept])
