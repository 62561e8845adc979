"""Recognition of cards on replicas; each class answers a port of `omma.ports.cards`."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from deployments.batching import Batcher
from deployments.faults import told
from deployments.hands import open_engines
from deployments.metrics import EngineMetrics, IndexMetrics
from deployments.naming import process_name
from deployments.records import Records, open_records
from deployments.replica import enter_replica
from omma.domain.cards import RecogniseOptions, Recognition
from omma.domain.errors import NotReady, OmmaError
from omma.domain.faces import Lane
from omma.domain.indexes import CARDS, IndexStats
from omma.ports.cards import CardEngine, CardEngines
from omma.services.retiring import Held
from omma.services.swapping import SnapshotSwap, SwapOptions, SwapPlaces
from omma.settings import Settings
from omma.vision.images import ImageLimits, decode, origin_of, probe, reduction_for

LARGE_PX = 4000  # longer side that is looked at in full; of twice that only every second pixel
WARM_UP_HW = (480, 344)  # of a picture of noise: its many keypoints ask much of the index


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """An image decoded no finer than it is looked at."""

    pixels: UInt8[np.ndarray, "h w 3"]
    width_px: int
    height_px: int
    reduction: int
    origin: tuple[int, int]  # of the reduced image in the whole, px
    decode_ms: float

    def told(self, found: Recognition) -> Recognition:
        """``found`` in pixels of the whole image."""
        matches = found.matches
        if self.reduction > 1:
            shift = np.array(self.origin, np.float32)
            matches = tuple(
                replace(match, outline=match.outline * self.reduction + shift) for match in matches
            )
        return replace(
            found,
            matches=matches,
            width_px=self.width_px,
            height_px=self.height_px,
            timings_ms={"decode": self.decode_ms, **found.timings_ms},
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """An image on its way to the snapshot that it began with."""

    pixels: UInt8[np.ndarray, "h w 3"]
    options: RecogniseOptions
    held: Held[CardEngine]


class _Open:
    """`CardEngine` that closes after its last batch: one runs on when all its callers have left."""

    def __init__(self, engine: CardEngine) -> None:
        self._engine = engine
        self._running = 0
        self._is_closed = False
        self._changed = threading.Condition()

    @property
    def stats(self) -> IndexStats:
        """See `CardEngine`."""
        return self._engine.stats

    def recognise(
        self, images: Sequence[UInt8[np.ndarray, "h w 3"]], options: RecogniseOptions, /
    ) -> list[Recognition]:
        """See `CardEngine`; `NotReady` once it was closed, which is told to nobody."""
        with self._changed:
            if self._is_closed:
                raise NotReady("the snapshot was closed before its batch began", 1)
            self._running += 1
        try:
            return self._engine.recognise(images, options)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Wait for what runs; to be called in a thread."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._running)
        self._engine.close()


class SnapshotMatcher:
    """`CardMatcher` over the published snapshot: decodes, shares batches across requests.

    ``threads`` are those of all engines in this process, where there are several. FAISS is loaded
    with the first snapshot.
    """

    def __init__(
        self,
        settings: Settings,
        records: Records,
        engines: CardEngines,
        threads: Executor | None = None,
    ) -> None:
        sized = settings.cards
        cv2.setNumThreads(sized.threads)  # streams look at once: OpenCV would take every core
        self._engines = engines
        self._swap = SnapshotSwap(
            SwapPlaces(records.snapshots, records.snapshot_files, records.servings),
            self._opened,
            SwapOptions(
                CARDS, process_name(), sized.poll_interval_s, settings.indexes.serving_ttl_s
            ),
            observer=IndexMetrics(CARDS),
        )
        self._limits = ImageLimits(settings.images.max_pixels, settings.images.max_frames)
        self._metrics = EngineMetrics("card_matching")
        self._batcher = Batcher(
            _recognise,
            max_size=sized.max_batch,
            streams=sized.streams,
            group=_alike,
            observe=self._metrics.batch,
            threads=threads,
        )
        self._threads = threads or ThreadPoolExecutor(sized.streams, thread_name_prefix="decode")
        held = 2 * sized.streams * sized.max_batch  # decoded images, which are large
        self._held = {lane: asyncio.Semaphore(held) for lane in Lane}

    def start(self) -> None:
        """Follow what is published until stopped."""
        self._swap.start()

    def check(self) -> None:
        """Raise `NotReady` when that has died; an index that is missing is no fault."""
        self._swap.check()

    async def stop(self) -> None:
        """Follow no more; what runs ends on the snapshot that it began with."""
        await self._swap.stop()

    async def recognise(
        self,
        images: Sequence[bytes],
        options: RecogniseOptions,
        *,
        lane: Lane = Lane.INTERACTIVE,
    ) -> list[Recognition | OmmaError]:
        """One recognition, or the reason why not, per image in the order given."""
        return list(await asyncio.gather(*(self._one(image, options, lane) for image in images)))

    async def _one(
        self, image: bytes, options: RecogniseOptions, lane: Lane
    ) -> Recognition | OmmaError:
        try:
            async with self._held[lane]:
                with self._swap.lease() as held:
                    return await self._recognised(image, options, held, lane)
        except Exception as error:  # noqa: BLE001  told to its own caller, and to the log
            return told(error)

    async def _recognised(
        self, image: bytes, options: RecogniseOptions, held: Held[CardEngine], lane: Lane
    ) -> Recognition:
        run = asyncio.get_running_loop().run_in_executor
        prepared = await run(self._threads, _prepare, image, self._limits)
        self._metrics.decode(prepared.decode_ms, lane)
        waiting = _Waiting(prepared.pixels, options, held)
        [outcome] = await self._batcher([waiting], lane=lane)
        if isinstance(outcome, Exception):
            raise outcome
        return prepared.told(outcome)

    def _opened(self, folder: Path, version: str) -> CardEngine:
        engine = _Open(self._engines.open(folder, version=version))
        try:
            noise = np.random.default_rng(0).integers(0, 256, (*WARM_UP_HW, 3), np.uint8)
            engine.recognise([noise], RecogniseOptions())
        except BaseException:
            engine.close()
            raise
        return engine


class CardMatching:
    """`CardMatcher` as a deployment; what to serve it learns from records of its own."""

    async def __init__(self, settings: Settings) -> None:
        enter_replica(settings)
        self._records = await open_records(settings)
        self._matcher = SnapshotMatcher(settings, self._records, open_engines(settings))
        self._matcher.start()

    async def recognise(
        self,
        images: Sequence[bytes],
        options: RecogniseOptions,
        *,
        lane: Lane = Lane.INTERACTIVE,
    ) -> list[Recognition | OmmaError]:
        """See `CardMatcher`."""
        return await self._matcher.recognise(images, options, lane=lane)

    def check_health(self) -> None:
        """Serve replaces a replica that raises here."""
        self._matcher.check()

    async def __del__(self) -> None:
        await self._matcher.stop()
        await self._records.close()


def _prepare(data: bytes, limits: ImageLimits) -> _Prepared:
    """Check and decode one image; raises the domain's errors about images."""
    started = time.perf_counter()
    header = probe(data, limits)
    reduction = reduction_for(header, LARGE_PX)
    return _Prepared(
        decode(data, header, reduction=reduction),
        header.width_px,
        header.height_px,
        reduction,
        origin_of(header, reduction),
        decode_ms=(time.perf_counter() - started) * 1000,
    )


def _alike(waiting: _Waiting) -> tuple[int, RecogniseOptions]:
    """Only images of one snapshot, asked the same, are looked at together."""
    return id(waiting.held), waiting.options


def _recognise(batch: list[_Waiting]) -> Sequence[Recognition]:
    first = batch[0]
    return first.held.engine.recognise([each.pixels for each in batch], first.options)
