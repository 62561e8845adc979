"""The nightly rebuild of the index of cards: when it is done, and on what: Ray tasks."""

import asyncio
import logging
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, TaskCancelledError
from ray.serve.metrics import Counter

from deployments import hands
from deployments.first_index import first_chore
from deployments.records import Records
from deployments.sources import open_source
from omma.domain.cards import ItemId
from omma.domain.errors import OmmaError, ReplicaLost
from omma.domain.indexes import CARDS, IndexStats, Verdict
from omma.ports.cards import Extracted
from omma.ports.indexes import AssembleTask, ExtractTask, Farm, JudgeTask
from omma.services.chores import Chore
from omma.services.farming import gathered
from omma.services.indexes import IndexRebuild, RebuildOptions, RebuildPorts
from omma.services.retention import GRACE
from omma.services.schedule import Nightly, NightlyPorts, Schedule, Submit
from omma.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

TRIES = 4  # of a task whose node, or whose process, was lost
OOM_TRIES = 2  # of one that was killed for memory: half of its pictures may do
PAUSE_S = 1.0  # before another try
NIGHTLY_S = 20.0  # between looks
CPUS = 1.0  # of one task
NICEST = 19  # a rebuild shall not be felt by who waits for an answer


class RayFarm:
    """`Farm` of Ray tasks. Each builds what it needs of the settings: nothing open travels."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._max_tasks = settings.indexes.max_tasks
        self._extract = remote_task(_extract)
        self._assemble = remote_task(_assemble)
        self._judge = remote_task(_judge)

    async def extract(
        self, tasks: AsyncIterator[ExtractTask]
    ) -> AsyncGenerator[Sequence[Extracted]]:
        """Faces of as many tasks at once as there are cores, or as the settings allow."""
        at_once = self._max_tasks or _cores()
        async with aclosing(gathered(self._begun(tasks), at_once=at_once)) as ended:
            async for found in ended:
                yield found

    async def assemble(self, task: AssembleTask) -> IndexStats:
        """Anywhere in the cluster."""
        return await result_of(self._assemble, self._settings, task)

    async def judge(self, task: JudgeTask) -> Verdict:
        """Both engines in one process: their times are to be compared."""
        return await result_of(self._judge, self._settings, task)

    async def _begun(
        self, tasks: AsyncIterator[ExtractTask]
    ) -> AsyncGenerator[asyncio.Task[Sequence[Extracted]]]:
        async for task in tasks:
            yield asyncio.create_task(self._look(task))

    async def _look(self, task: ExtractTask) -> Sequence[Extracted]:
        """Of a task that kills every process that tries it, the picture at fault is found."""
        try:
            return await result_of(self._extract, self._settings, task)
        except ReplicaLost as error:
            if len(task.faces) == 1:
                return [_fatal(task, error)]
        log.warning("halved a task that its workers died of", extra={"faces": len(task.faces)})
        middle = len(task.faces) // 2
        stem = task.shard.removesuffix(".h5")
        halves = [
            replace(task, shard=f"{stem}{letter}.h5", faces=faces)
            for letter, faces in (("a", task.faces[:middle]), ("b", task.faces[middle:]))
        ]
        return [row for half in halves for row in await self._look(half)]


def open_rebuild(
    settings: Settings, records: Records, farm: Farm | None = None, *, grace: timedelta = GRACE
) -> IndexRebuild:
    """Over stores that are open already; ``farm`` is Ray's where none is given."""
    indexes = settings.indexes
    ports = RebuildPorts(
        source=open_source(settings),
        cards=records.cards,
        ledger=records.features,
        snapshots=records.snapshots,
        servings=records.servings,
        files=records.snapshot_files,
        blobs=records.blobs,
        leases=records.rebuild_leases,
        farm=farm or RayFarm(settings),
        corrections=records.corrections,
    )
    engines = hands.open_engines(settings)
    options = RebuildOptions(
        work=settings.work_dir,
        features_key=engines.features_key,
        index_form=engines.index_form,
        shard_items=indexes.shard_items,
        max_tries=indexes.max_tries,
        keep=indexes.keep,
        lease_s=indexes.lease_s,
        max_loss=indexes.gate.max_loss,
        grace=grace,
    )
    return IndexRebuild(ports, options, on_refusal=RebuildMetrics().refused)


def nightly_chores(settings: Settings, records: Records, submit: Submit) -> list[Chore]:
    """What submits rebuilds: one soon where there is nothing to serve, one for every night.

    The first of a source that takes hours is for its operator to begin. Nothing is done while no
    source is chosen, except that a bundle is imported.
    """
    if not settings.cards.enabled:
        return []
    ports = NightlyPorts(
        records.cursors, records.snapshots, records.snapshot_files, records.rebuild_leases, submit
    )
    indexes, source = settings.indexes, settings.cards.source.type
    first = first_chore(settings, ports, records)
    chores = [first] if first else []
    if indexes.schedule and source not in {"none", "sample"}:
        schedule = Schedule.read(indexes.schedule, indexes.time_zone)
        chores.append(Chore("nightly", NIGHTLY_S, Nightly(ports, schedule).run_once))
    return chores


class RebuildMetrics:
    """What an operator is to be woken by."""

    def __init__(self) -> None:
        keys: Any = ("index",)  # Serve annotates a tuple of one
        self._refused = Counter("omma_index_refused", "Rebuilds that were refused.", keys)

    def refused(self) -> None:
        """Count a refusal; an `IndexRebuild` calls this."""
        self._refused.inc(1, {"index": CARDS})


def _extract(settings: Settings, task: ExtractTask) -> list[Extracted]:
    async def work() -> list[Extracted]:
        async with hands.extracting(settings) as extracting:
            return await extracting.extract(task)

    return asyncio.run(work())


def _assemble(settings: Settings, task: AssembleTask) -> IndexStats:
    return asyncio.run(hands.assembling_of(settings).assemble(task))


def _judge(settings: Settings, task: JudgeTask) -> Verdict:
    async def work() -> Verdict:
        async with hands.judging(settings) as judging:
            return await judging.judge(task)

    return asyncio.run(work())


def remote_task(function: Callable[..., Any]) -> Any:
    """Tried again by `result_of` alone: what runs out of memory Ray tries for ever.

    Its worker ends with it: a replica that came after it in the same process would stay as slow.
    """
    return ray.remote(num_cpus=CPUS, max_retries=0, max_calls=1)(yielding(function))


def yielding(function: Callable[..., T]) -> Callable[..., T]:
    """The same in a thread, and in those that it starts, that the kernel runs behind all others.

    For good: only root may raise a priority again.
    """

    @wraps(function)
    def run(*args: Any) -> T:
        os.setpriority(os.PRIO_PROCESS, 0, NICEST)  # 0 is the calling thread, not the process
        return function(*args)

    return run


async def result_of(function: Any, settings: Settings, task: object) -> Any:
    """What the task answers, within a few tries; `ReplicaLost` where Ray lost each of them."""
    lost = killed = 0
    while True:
        try:
            return await _once(function, settings, task)
        except (RayTaskError, TaskCancelledError):
            raise
        except RayError as error:
            lost += 1
            killed += isinstance(error, OutOfMemoryError)
            reason = type(error).__name__
        if lost >= TRIES or killed >= OOM_TRIES:
            raise ReplicaLost(f"every process that tried a task of a rebuild was lost: {reason}", 1)
        log.warning("a task of a rebuild was lost, it is tried again", extra={"reason": reason})
        await asyncio.sleep(PAUSE_S)


async def _once(function: Any, settings: Settings, task: object) -> Any:
    """One try; it is cancelled with whoever waits for it."""
    reference = function.remote(settings, task)
    try:
        return await asyncio.wrap_future(reference.future())
    except RayTaskError as error:
        if isinstance(error.cause, OmmaError):
            raise error.cause from None  # str(error) is two pages of remote traceback
        raise
    except asyncio.CancelledError:
        ray.cancel(reference, force=True)
        raise


def _fatal(task: ExtractTask, error: OmmaError) -> Extracted:
    [face] = task.faces
    item = ItemId(face.card_id, face.face.number)
    told = f"{error.code}: {error}"
    return Extracted(item, face.face.image_key, error=told, is_final=True, tries=face.tries)


def _cores() -> int:
    return max(1, math.floor(ray.cluster_resources().get("CPU", 1) / CPUS))
