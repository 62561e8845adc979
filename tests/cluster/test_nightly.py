"""Rebuilds in Ray tasks, in the cluster that the suite shares."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.cluster

PROGRAM = """
import asyncio, ray
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

    report = await rebuild.run(watcher, holder="test")
    print(report.is_published, report.faces, report.fetched, report.failed_count)
    await rebuild.close()
    await records.close()

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
asyncio.run(main())
"""


def test_the_sample_is_indexed_by_ray_tasks(tmp_path):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OMMA_")}
    environ |= {
        "OMMA_HOME": str(tmp_path / "home"),
        "OMMA_INDEXES__SHARD_ITEMS": "16",
        "OMMA_INDEXES__GATE__CANARIES": "10",
        "OMMA_INDEXES__GATE__MIN_ACCURACY": "0.8",
    }

    told = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM],
        env=environ,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert told.returncode == 0, told.stderr[-2000:]
    assert told.stdout.split()[-4:] == ["True", "41", "41", "0"]
