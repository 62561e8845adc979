"""What callers feel of a swap: recognition while two snapshots are published in turn.

``python -m benchmarks.swap [--items N] [--seconds S] [--callers C]``
"""

import argparse
import asyncio
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import cv2
import httpx
import numpy as np

from benchmarks.drawing import CardSpec, draw_card, sample_specs
from benchmarks.load import Load, http_load
from benchmarks.report import report
from benchmarks.servers import BENCH_HOME as HOME
from benchmarks.servers import running_omma
from deployments.hands import open_engines
from deployments.records import Records, open_records
from deployments.sizes import read_plan
from omma.domain.cards import Card, CardFace, CardId, Features, ItemFeatures, ItemId
from omma.domain.indexes import CARDS, IndexStats, Snapshot, SnapshotState
from omma.settings import Settings

LOCAL = Path("config/local.yaml")
VERSIONS = ("20260101T000000Z-swap-a", "20260101T000000Z-swap-b")
DRAWN = 16  # cards that are drawn; the others are noise, which fills an index as well
KEYPOINTS = 200  # of one that is not
EVERY_S = 2.0  # between publications: replicas look every second
WARM_UP_S = 3.0
PATH = "/api/v1/cards/recognise?max_cards=1&is_crop=true"  # many answers in the seconds


@dataclass(frozen=True, slots=True)
class Noise:
    """`FeatureReader` of a few drawn cards among very many that are random descriptors."""

    drawn: tuple[ItemFeatures, ...]
    items: int

    def __len__(self) -> int:
        return self.items

    def read(self) -> Iterator[ItemFeatures]:
        """The same ones every time."""
        yield from self.drawn
        rng = np.random.default_rng(0)
        for number in range(self.items - len(self.drawn)):
            yield ItemFeatures(ItemId(CardId(f"noise-{number}")), _noise(rng))


def main() -> None:
    """Publish two snapshots of so many items in turn, and report what 32 callers feel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--callers", type=int, default=32)
    args, _ = parser.parse_known_args()
    specs, settings = sample_specs(DRAWN, 11), read_plan(LOCAL, {"home": HOME.resolve()}).settings
    stats = asyncio.run(_prepare(settings, specs, args.items))
    with running_omma(LOCAL, OMMA_CARDS__SOURCE__TYPE="none") as server:
        _await_index(server.port)
        image = _photo(specs[0])
        ask = {"concurrency": args.callers, "seconds": args.seconds}
        http_load(server.port, PATH, image, concurrency=4, seconds=WARM_UP_S)
        before = http_load(server.port, PATH, image, **ask)
        with _Publishing(server.port) as publishing:
            during = http_load(server.port, PATH, image, **ask)
    rows = [_row("before", before, 0, stats), _row("during swaps", during, publishing.times, stats)]
    ratio = during.percentile_ms(99) / before.percentile_ms(99)
    rows[1]["p99 ratio"] = round(ratio, 2)
    report("swap", f"{args.callers} callers, every answer a 200", rows)


class _Publishing:
    """Publishes the snapshots in turn from a thread, as long as the context lasts."""

    def __init__(self, port: int) -> None:
        self.times = 0
        self._url = f"http://127.0.0.1:{port}/api/v1/indexes/{CARDS}/publish"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._publish)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _publish(self) -> None:
        while not self._ended.is_set():
            version = VERSIONS[(self.times + 1) % 2]
            answer = httpx.post(self._url, json={"version": version}, timeout=60, trust_env=False)
            answer.raise_for_status()
            self.times += 1
            self._ended.wait(EVERY_S)


async def _prepare(settings: Settings, specs: list[CardSpec], items: int) -> IndexStats:
    """Both snapshots, recorded, the first of them published."""
    engines, folder = open_engines(settings), HOME / "built"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    drawn = tuple(
        ItemFeatures(ItemId(CardId(spec.card_id)), engines.extract(_png(spec))) for spec in specs
    )
    begun = time.perf_counter()
    stats = engines.build(Noise(drawn, items), folder, version=VERSIONS[0])
    print(f"built an index of {items} items in {time.perf_counter() - begun:.0f} s")
    records = await open_records(settings)
    try:
        await records.cards.upsert([_card(spec) for spec in specs], seen_in="bench")
        for version in reversed(VERSIONS):
            await _publish(records, folder, version, stats)
    finally:
        await records.close()
        shutil.rmtree(folder)
    return stats


async def _publish(records: Records, folder: Path, version: str, stats: IndexStats) -> None:
    size = await records.snapshot_files.put(CARDS, version, folder)
    made = replace(stats, size_bytes=size)
    snapshot = Snapshot(CARDS, version, SnapshotState.BUILT, made, datetime.now(UTC))
    await records.snapshots.add(snapshot)
    await records.snapshots.publish(CARDS, version)


def _await_index(port: int) -> None:
    url = f"http://127.0.0.1:{port}/api/v1/indexes/{CARDS}"
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        if httpx.get(url, timeout=60, trust_env=False).json()["served_by"]:
            return
        time.sleep(0.2)
    raise TimeoutError(os.strerror(110))


def _row(what: str, load: Load, swaps: int, stats: IndexStats) -> dict[str, object]:
    return {
        "what": what,
        "items": stats.items,
        "index MB": stats.size_bytes / 1e6,
        "published": swaps,
        "requests": load.requests,
        "requests/s": load.per_s,
        "p50 ms": load.percentile_ms(50),
        "p99 ms": load.percentile_ms(99),
        "longest ms": max(load.latencies_ms),
        "p99 ratio": 1.0,
        "load": round(os.getloadavg()[0], 1),
    }


def _noise(rng: np.random.Generator) -> Features:
    values = rng.exponential(1.0, (KEYPOINTS, 128)).astype(np.float32)
    roots = np.sqrt(values / values.sum(axis=1, keepdims=True))
    keypoints = rng.uniform(0, 230, (KEYPOINTS, 4)).astype(np.float32)
    descriptors = np.minimum(roots * 512, 255).astype(np.uint8)
    return Features(keypoints, descriptors, width_px=230, height_px=320)


def _card(spec: CardSpec) -> Card:
    face = CardFace(0, spec.name, spec.card_id, spec.card_id)
    return Card(CardId(spec.card_id), spec.name, spec.set_code, faces=(face,))


def _photo(spec: CardSpec) -> bytes:
    bgr = cv2.cvtColor(draw_card(spec), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", cv2.rotate(bgr, cv2.ROTATE_180))[1].tobytes()


def _png(spec: CardSpec) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(draw_card(spec), cv2.COLOR_RGB2BGR))[1].tobytes()


if __name__ == "__main__":
    main()
