"""Rebuilds in Ray tasks, in the cluster that the suite shares."""

import os
import subprocess
import sys

import numpy as np
import pytest

from omma.domain.cards import CardId, Features, ItemFeatures, ItemId
from omma.stores.bundles import write_bundle
from omma.stores.shards import ShardedFeatures, write_shard

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

PROGRAM = """
import asyncio, psutil, ray
from deployments.nightly import open_rebuild
from deployments.records import open_records
from omma.settings import Settings

async def main():
    settings = Settings()
    records = await open_records(settings)
    rebuild = open_rebuild(settings, records)
    stages = []

    async def watcher(progress):
        stages.append(progress.stage)

    nices = {}  # the highest of each kind of task

    async def look():
        while True:
            for process in psutil.process_iter(["cmdline", "nice"]):
                title = (process.info["cmdline"] or [""])[0]
                if title.startswith("ray::_"):
                    nices[title] = max(nices.get(title, 0), process.info["nice"])
            await asyncio.sleep(0.1)

    looking = asyncio.create_task(look())
    report = await rebuild.run(watcher, holder="test")
    looking.cancel()
    print(sorted({title[5:].partition("(")[0] for title in nices}), set(nices.values()))
    print(report.is_published, report.faces, report.fetched, report.failed_count)
    await rebuild.close()
    await records.close()

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
asyncio.run(main())
"""

IMPORT = """
import asyncio, ray
from deployments.bundles import open_import
from deployments.records import open_records
from omma.settings import Settings

async def main():
    settings = Settings()
    records = await open_records(settings)

    async def watcher(progress):
        pass

    report = await open_import(settings, records).run(watcher, holder="test")
    published = await records.snapshots.published("cards")
    print(report.version == published.version, report.faces)
    await records.close()

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
asyncio.run(main())
"""


def test_the_sample_is_indexed_by_ray_tasks_behind_everything_else(tmp_path):
    told = run(PROGRAM, tmp_path, {
        "OMMA_INDEXES__SHARD_ITEMS": "16",
        "OMMA_INDEXES__GATE__CANARIES": "10",
        "OMMA_INDEXES__GATE__MIN_ACCURACY": "0.8",
    })  # fmt: skip

    assert told[-4:] == ["True", "41", "41", "0"]
    assert " ".join(told[-8:-4]) == "['_assemble', '_extract', '_judge'] {19}"


def test_a_bundle_is_read_and_built_by_a_ray_task(tmp_path):
    rng = np.random.default_rng(0)
    items = [
        ItemFeatures(
            ItemId(CardId(name)),
            Features(
                rng.uniform(0, 256, (60, 4)).astype(np.float32),
                rng.integers(0, 100, (60, 128), np.uint8),
                256,
                256,
            ),
        )
        for name in ("a", "b", "c")
    ]
    write_shard(tmp_path / "shard.h5", items)
    reader = ShardedFeatures([(tmp_path / "shard.h5", [each.item for each in items])])
    write_bundle(tmp_path / "bundle", reader, image_urls={})

    told = run(IMPORT, tmp_path, {"OMMA_INDEXES__BUNDLE_URL": str(tmp_path / "bundle")})

    assert told[-2:] == ["True", "3"]


def run(program, tmp_path, settings):
    """The words that the program has told at its end."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OMMA_")}
    environ |= {"OMMA_HOME": str(tmp_path / "home"), **settings}
    told = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program],
        env=environ,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert told.returncode == 0, told.stderr[-2000:]
    return told.stdout.split()
