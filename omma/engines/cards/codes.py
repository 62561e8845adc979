"""Nearest descriptors among millions: an inverted file of short codes, by FAISS."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from omma.domain.errors import IndexCorrupt
from omma.engines.cards.options import CardEngineOptions
from omma.vision.keypoints import DIMENSION

EXACT_BELOW = 8_000  # descriptors that are compared one by one
SAMPLES_PER_LIST = 64  # to train on; k-means needs 39
MOST_LISTS = 16_384
BITS = 4  # of one sub-quantiser: its table fits a register ("fast scan")


def lists_for(vectors: int) -> int:
    """How many lists an index of so many descriptors has: a power of two near 2 sqrt(n)."""
    return int(min(MOST_LISTS, 2 ** round(np.log2(2 * np.sqrt(max(vectors, 1))))))


class Codes:
    """Codes of descriptors, numbered from 0 as they were added."""

    def __init__(self, index: faiss.Index, threads: int = 1) -> None:
        self._index: Any = index  # its methods are wrapped at run time
        self._threads = threads

    @classmethod
    def train(
        cls, sample: UInt8[np.ndarray, "n 128"], vectors: int, options: CardEngineOptions
    ) -> "Codes":
        """An empty index for about ``vectors`` descriptors like those of ``sample``."""
        lists = lists_for(vectors)
        if vectors < EXACT_BELOW or len(sample) < lists:
            return cls(faiss.IndexFlatL2(DIMENSION))
        parts = options.code_bytes * 8 // BITS
        recipe = f"PCA{options.reduced},IVF{lists},PQ{parts}x{BITS}fs"
        index: Any = faiss.index_factory(DIMENSION, recipe)
        inverted = faiss.extract_index_ivf(index)
        inverted.cp.min_points_per_centroid = 1  # it would warn on standard output
        inverted.cp.max_points_per_centroid = SAMPLES_PER_LIST
        index.train(sample.astype(np.float32))
        return cls(index)

    @classmethod
    def read(cls, path: Path, options: CardEngineOptions) -> "Codes":
        """An index that `write` wrote; raises `IndexCorrupt`."""
        try:
            index: Any = faiss.read_index(str(path))
        except RuntimeError as error:
            raise IndexCorrupt(f"{path.name} cannot be read as an index") from error
        if not isinstance(index, faiss.IndexFlat):
            inverted = faiss.extract_index_ivf(index)
            inverted.nprobe = min(options.probes, inverted.nlist)
        return cls(index, options.threads)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, descriptors: UInt8[np.ndarray, "n 128"]) -> None:
        """Number them on from the last."""
        self._index.add(descriptors.astype(np.float32))

    def write(self, path: Path) -> None:
        """Into one file."""
        faiss.write_index(self._index, str(path))

    def search(
        self, descriptors: UInt8[np.ndarray, "q 128"], count: int
    ) -> tuple[Float32[np.ndarray, "q k"], Int64[np.ndarray, "q k"]]:
        """Squared distances and numbers of the nearest, -1 where there are no more."""
        faiss.omp_set_num_threads(self._threads)  # holds for the calling thread alone
        return self._index.search(descriptors.astype(np.float32), count)
