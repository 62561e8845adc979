"""Card matching with the settings of the service that omma takes the place of.

As its documentation and code had it: pictures brought to 256 by 256 px whatever their shape,
100 of SIFT's keypoints of each card in the index and 250 of each query, an IVFPQ that is trained
on the first 10,000 descriptors, one vote for each of three neighbours, RANSAC on the ten most
voted for, and eight inliers to claim a card.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import faiss
import numpy as np

SIDE_PX = 256
CLIP, TILES = 2.0, (8, 8)
INDEXED, ASKED = 100, 250  # keypoints of a card and of a query
EPSILON = 1e-7
DIMENSION, LISTS, CODES, BITS = 128, 256, 8, 8
TRAINED_ON = 10_000
PROBES, NEIGHBOURS, CANDIDATES = 10, 3, 10
RATIO, MIN_GOOD, RANSAC_PX, MIN_INLIERS = 0.75, 4, 5.0, 8


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Keypoints of one picture at 256 by 256 px."""

    places: np.ndarray  # n 2 float32
    descriptors: np.ndarray  # n 128 float16


def look(rgb: np.ndarray, most: int) -> Seen:
    """CLAHE on L, SIFT, RootSIFT."""
    small = cv2.resize(rgb, (SIDE_PX, SIDE_PX))
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    lightness = cv2.createCLAHE(CLIP, TILES).apply(lab[..., 0])
    even = cv2.cvtColor(np.dstack([lightness, lab[..., 1:]]), cv2.COLOR_LAB2RGB)
    grey = cv2.cvtColor(even, cv2.COLOR_RGB2GRAY)
    found, raw = cv2.SIFT.create(nfeatures=most).detectAndCompute(grey, None)
    if raw is None:
        return Seen(np.zeros((0, 2), np.float32), np.zeros((0, DIMENSION), np.float16))
    roots = np.sqrt(raw / (raw.sum(axis=1, keepdims=True) + EPSILON))
    return Seen(np.array([k.pt for k in found], np.float32), roots.astype(np.float16))


class OriginalIndex:
    """All descriptors in one IVFPQ; keypoints in memory, where the original read them of HDF5."""

    def __init__(self, cards: Sequence[str], seen: Sequence[Seen]) -> None:
        self._cards = cards
        self._seen = seen
        self._owners = np.repeat(np.arange(len(seen)), [len(s.descriptors) for s in seen])
        quantizer = faiss.IndexFlatL2(DIMENSION)
        self._index = faiss.IndexIVFPQ(quantizer, DIMENSION, LISTS, CODES, BITS)
        self._index.train(_first(seen, TRAINED_ON))
        for start in range(0, len(seen), 1000):
            block = [s.descriptors for s in seen[start : start + 1000]]
            self._index.add(np.concatenate(block).astype(np.float32))
        self._index.nprobe = PROBES

    def save(self, path: Path) -> None:
        """Only the index proper."""
        faiss.write_index(self._index, str(path))

    def match(self, rgb: np.ndarray) -> str | None:
        """The card that is claimed, if any."""
        query = look(rgb, ASKED)
        if not len(query.descriptors):
            return None
        _, rows = self._index.search(query.descriptors.astype(np.float32), NEIGHBOURS)
        votes = Counter(self._owners[rows[rows >= 0]].tolist())
        scored = [(self._inliers(query, card), card) for card, _ in votes.most_common(CANDIDATES)]
        inliers, best = max(scored, key=lambda pair: pair[0])
        return self._cards[best] if inliers >= MIN_INLIERS else None

    def _inliers(self, query: Seen, card: int) -> int:
        theirs = self._seen[card]
        matcher = cv2.BFMatcher(cv2.NORM_L2)
        ours, others = (s.descriptors.astype(np.float32) for s in (query, theirs))
        pairs = [pair for pair in matcher.knnMatch(ours, others, k=2) if len(pair) == 2]  # noqa: PLR2004
        good = [a for a, b in pairs if a.distance < RATIO * b.distance]
        if len(good) < MIN_GOOD:
            return 0
        source = query.places[[m.queryIdx for m in good]]
        target = theirs.places[[m.trainIdx for m in good]]
        homography, mask = cv2.findHomography(source, target, cv2.RANSAC, RANSAC_PX)
        return 0 if homography is None else int(mask.sum())


def _first(seen: Sequence[Seen], count: int) -> np.ndarray:
    block = [s.descriptors for s in seen[: count // INDEXED * 2]]
    return np.concatenate(block)[:count].astype(np.float32)
