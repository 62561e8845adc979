"""The index of the documented bundle, for those who read it: IVF of product codes, by FAISS."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from omma.domain.errors import InvalidInput
from omma.engines.cards.building import CHUNK, draw_sample
from omma.engines.cards.options import CardEngineOptions
from omma.ports.cards import FeatureReader
from omma.vision.keypoints import DIMENSION

LISTS, PARTS, BITS, PROBES = 256, 8, 8, 10  # as documented
PER_LIST = 39  # descriptors that k-means wants for each list
ONE = np.float32(512)  # what 1.0 is in our descriptors


def write_documented_index(reader: FeatureReader, path: Path) -> None:
    """Write ``faiss_ivf.index``: a row for each descriptor, in the order of ``reader``.

    It is trained on a sample of all descriptors. Few of them have fewer lists; `InvalidInput` for
    too few to train product codes on.
    """
    sample, vectors = draw_sample(reader, CardEngineOptions())
    if len(sample) < 2**BITS:
        raise InvalidInput(f"expected at least {2**BITS} descriptors to export, got {vectors}")
    lists = max(1, min(LISTS, len(sample) // PER_LIST))
    index: Any = faiss.IndexIVFPQ(faiss.IndexFlatL2(DIMENSION), DIMENSION, lists, PARTS, BITS)
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1  # it would warn
    index.nprobe = PROBES
    index.train(sample / ONE)
    held: list[np.ndarray] = []
    for item in reader.read():
        held.append(item.features.descriptors)
        if sum(map(len, held)) >= CHUNK:
            index.add(np.concatenate(held) / ONE)
            held.clear()
    if held:
        index.add(np.concatenate(held) / ONE)
    faiss.write_index(index, str(path))
