"""How fast new cards come into an index: `python -m benchmarks.cards_rebuild --cards N`.

Extraction in Ray tasks on one core and on more, then the index, its way into the blob store and
back into an engine: what a nightly rebuild does, but for the download. Drawn cards; nothing of
their features is kept.
"""

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import faiss
import ray

from benchmarks.cards_corpus import WORK, Corpus, draw_all
from benchmarks.cards_features import Gathered, name_of
from benchmarks.report import report
from benchmarks.servers import BENCH_HOME
from deployments.surroundings import client_environment
from omma.domain.cards import CardId, ItemFeatures, ItemId
from omma.engines.cards import SiftCardEngines
from omma.stores.blobs import open_blobs
from omma.stores.shards import write_shard
from omma.stores.snapshots import BlobSnapshotFiles

PER_TASK = 250
NAME, VERSION = "cards", "bench"


def main() -> None:
    """Each number of cores in a cluster of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--cards", type=int, default=10_000)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, os.cpu_count() or 2])
    args, _ = parser.parse_known_args()
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # Ray reads it when it is imported
        command = [sys.executable, "-m", "benchmarks.cards_rebuild", *sys.argv[1:]]
        environment = os.environ | client_environment(BENCH_HOME.resolve())
        subprocess.run(command, check=True, env=environment)  # noqa: S603  ourselves
        return
    draw_all(args.work, args.cards, max(args.cores))
    rows = [_measure(args.work.resolve(), args.cards, cores) for cores in args.cores]
    for row in rows:
        row["speed-up of extraction"] = rows[0]["extract_s"] / row["extract_s"]
    named = [{"what": f"{cores} cores", **row} for cores, row in zip(args.cores, rows, strict=True)]
    report("cards-rebuild", f"{args.cards} new cards extracted and published", named)


def _measure(work: Path, cards: int, cores: int) -> dict[str, float]:
    ray.init(
        address="local",
        num_cpus=cores,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            shards = _extract(work, Path(folder), cards)
            extracted = time.perf_counter()
            _publish(shards, Path(folder), cores)
            published = time.perf_counter()
    finally:
        ray.shutdown()
    return {
        "extract_s": extracted - begun,
        "cards/s": cards / (extracted - begun),
        "build and publish_s": published - extracted,
        "together_s": published - begun,
    }


def _extract(work: Path, folder: Path, cards: int) -> tuple[Path, ...]:
    starts = range(0, cards, PER_TASK)
    ranges = [range(start, min(start + PER_TASK, cards)) for start in starts]
    return tuple(ray.get([_look.remote(work, folder, numbers) for numbers in ranges]))


@ray.remote(num_cpus=1)
def _look(work: Path, folder: Path, numbers: range) -> Path:
    """One shard."""
    cv2.setNumThreads(1)
    engines, corpus = SiftCardEngines(), Corpus(work)
    items = [
        ItemFeatures(
            ItemId(CardId(name_of(number))),
            engines.extract(corpus.path(number).read_bytes()),
            f"art-{corpus.original(number)}",
        )
        for number in numbers
    ]
    path = folder / f"{numbers.start:06d}.h5"
    write_shard(path, items)
    return path


def _publish(shards: tuple[Path, ...], folder: Path, cores: int) -> None:
    """The index built, put, fetched and opened."""
    faiss.omp_set_num_threads(cores)
    index, cache, blobs = folder / "index", folder / "cache", folder / "blobs"
    for made in (index, cache, blobs):
        made.mkdir()
    engines = SiftCardEngines()
    engines.build(Gathered(shards, ()), index, version=VERSION)
    local = asyncio.run(_put_and_fetch(index, cache, blobs))
    engines.open(local, version=VERSION).close()


async def _put_and_fetch(index: Path, cache: Path, blobs: Path) -> Path:
    files = BlobSnapshotFiles(open_blobs(blobs.as_uri()), cache)
    await files.put(NAME, VERSION, index)
    return await files.fetch(NAME, VERSION)


if __name__ == "__main__":
    main()
