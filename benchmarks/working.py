"""The runner as it is, over models that do nothing."""

import asyncio
import time
from collections.abc import Sequence

from benchmarks.queue import GATHERED, OPERATION, opened
from omma.domain.faces import Lane
from omma.domain.jobs import ImageRef, Json, Submission
from omma.ports.operations import Kept
from omma.services.calls import Calls
from omma.services.inputs import Inputs
from omma.services.intake import new_id
from omma.services.runner import Runner, RunnerOptions
from omma.stores.records.jobs import SqlJobStore
from omma.stores.records.queue import SqlJobQueue

LOOK_S = 0.05  # between two looks at the queue
QUOTA = 10**6


class Nothing:
    """An operation that answers at once, and the media, URLs, blobs and files of its jobs."""

    def check(self, params: Json) -> Json:
        """All are right."""
        return params

    async def run(self, images: Sequence[bytes], params: Json, *, lane: Lane) -> list[str]:
        """Nothing is seen."""
        del params, lane
        return [""] * len(images)

    def keep(self, outcome: str, folder: str) -> Kept:
        """Nothing is kept."""
        del outcome, folder
        return Kept({}, {})

    def measure(self, outcome: str) -> Json:
        """Nothing is measured."""
        del outcome
        return {}

    async def fetch(self, media_store_id: str, *, max_bytes: int) -> bytes:
        """One byte is every image."""
        del media_store_id, max_bytes
        return b"-"


async def work_off_s(url: str, jobs: int) -> float:
    """Seconds until a runner with its default window has ended so many waiting jobs."""
    async with opened("work", url) as bench:
        await _submit(bench.store, jobs)
        runner = _runner(bench.queue)
        begun = time.perf_counter()
        working = asyncio.create_task(runner.run())
        while await bench.queue.depth() or runner.running:  # noqa: ASYNC110  it is elsewhere
            await asyncio.sleep(LOOK_S)
        took_s = time.perf_counter() - begun
        runner.stop()
        await working
    return took_s


async def _submit(store: SqlJobStore, jobs: int) -> None:
    asked = [_submission() for _ in range(jobs)]
    for first in range(0, jobs, GATHERED):
        await store.submit(asked[first : first + GATHERED], quota=QUOTA)


def _submission() -> Submission:
    images = (ImageRef(media_store_id="any"),)
    return Submission(new_id(), OPERATION, images, "bench")


def _runner(queue: SqlJobQueue) -> Runner:
    nothing = Nothing()
    inputs = Inputs(nothing, nothing, nothing, 1, asyncio.Semaphore(16))
    return Runner(queue, Calls({OPERATION: nothing}, inputs, nothing), RunnerOptions("bench"))
