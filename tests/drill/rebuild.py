"""`python -m tests.drill.rebuild [STAGE]`: one rebuild, on a node of its own, to be killed at will.

It is put together of what the product is put together of, from the same settings; only Ray is
missing around it. At STAGE, when a part of its work is done, it kills itself: at the same place
every time, with no more grace than anybody else's SIGKILL. Its report is printed.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
from datetime import timedelta

from deployments import hands
from deployments.nightly import open_rebuild
from deployments.records import open_records
from deployments.sources import open_source
from omma.domain.errors import OmmaError
from omma.services.farming import Hands, LocalFarm
from omma.settings import Settings

PR_SET_PDEATHSIG = 1


async def main(settings, stage, holder):
    records = await open_records(settings)
    source = open_source(settings)
    farm = LocalFarm(
        Hands(
            hands.extracting_of(settings, source),
            hands.assembling_of(settings),
            hands.judging_of(settings, records, source),
        ),
        at_once=1,
    )
    rebuild = open_rebuild(settings, records, farm, grace=timedelta(0))

    async def watcher(progress):
        if progress.stage == stage and (progress.done or not progress.total):
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        report = await rebuild.run(watcher, holder=holder)
        return {
            "version": report.version,
            "is_published": report.is_published,
            "cards": report.cards,
            "faces": report.faces,
            "fetched": report.fetched,
            "removed": report.removed,
            "failed": [[item.card_id, error] for item, error in report.failed],
            "reasons": report.verdict.reasons if report.verdict else [],
        }
    except OmmaError as error:
        return {"code": error.code, "message": str(error)}
    finally:
        await rebuild.close()
        await source.close()
        await records.close()


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives the suite
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    name = os.environ.get("DRILL_HOLDER", "node-a")
    print(json.dumps(asyncio.run(main(Settings(), wanted, name))))  # noqa: T201
