"""Face models on replicas; each class answers a port of `omma.ports.faces`."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, UInt8

from deployments.batching import Batcher
from deployments.faults import told
from deployments.metrics import EngineMetrics
from deployments.replica import enter_replica
from omma.domain.errors import OmmaError, Overloaded
from omma.domain.faces import Detection, DetectOptions, Lane
from omma.engines.finder import FaceFinder
from omma.engines.loading import load_detector, load_embedder
from omma.ports.faces import Candidates
from omma.settings import EmbedderSettings, Settings
from omma.stores.catalogue import Catalogue
from omma.stores.models import ModelFiles
from omma.vision.images import ImageLimits


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A canvas on its way to the detector."""

    pixels: UInt8[np.ndarray, "h w 3"]
    min_score: float


class FaceDetection:
    """`FaceDetector` on one replica: decodes, shares batches across requests, cuts crops.

    ``threads`` are those of all engines in this process, where there are several.
    """

    def __init__(self, settings: Settings, threads: Executor | None = None) -> None:
        enter_replica(settings)
        pack = Catalogue.read(settings.models_file).pack(settings.faces.pack)
        path = ModelFiles(settings.models_dir).path(pack.detector)
        sized = settings.faces.detection
        engine = load_detector(pack.detector, path, sized)
        limits = ImageLimits(settings.images.max_pixels, settings.images.max_frames)
        self._finder = FaceFinder(engine, limits, settings.faces.canvas)
        self._metrics = EngineMetrics("face_detection")
        self._batcher = Batcher(
            self._find,
            max_size=sized.max_batch,
            streams=sized.streams,
            group=_canvas_shape,
            observe=self._metrics.batch,
            threads=threads,
        )
        # Decoding and cropping go on beside the engine; semaphores bound the decoded images held.
        self._threads = threads or ThreadPoolExecutor(sized.streams, thread_name_prefix="decode")
        held = 2 * sized.streams * sized.max_batch
        self._held = {lane: asyncio.Semaphore(held) for lane in Lane}

    async def detect(
        self, images: Sequence[bytes], options: DetectOptions, *, lane: Lane = Lane.INTERACTIVE
    ) -> list[Detection | OmmaError]:
        """One detection, or the reason why not, per image in the order given."""
        return list(await asyncio.gather(*(self._one(image, options, lane) for image in images)))

    async def _one(self, image: bytes, options: DetectOptions, lane: Lane) -> Detection | OmmaError:
        try:
            async with self._held[lane]:
                return await self._found(image, options, lane)
        except Exception as error:  # noqa: BLE001  told to its own caller, and to the log
            return told(error)

    async def _found(self, image: bytes, options: DetectOptions, lane: Lane) -> Detection:
        run = asyncio.get_running_loop().run_in_executor
        prepared = await run(self._threads, self._finder.prepare, image, options)
        self._metrics.decode(prepared.decode_ms, lane)
        queued = time.perf_counter()
        waiting = [_Waiting(pixels, options.min_score) for pixels in prepared.looks]
        looks: list[Candidates] = []
        for outcome in await self._batcher(waiting, lane=lane):
            if isinstance(outcome, Exception):
                raise outcome
            looks.append(outcome)
        candidates = self._finder.merged(prepared, looks)
        detect_ms = (time.perf_counter() - queued) * 1000
        found = await run(self._threads, self._finder.finish, prepared, candidates, options)
        return replace(found, timings_ms={**found.timings_ms, "detect": detect_ms})

    def _find(self, batch: list[_Waiting]) -> Sequence[Candidates]:
        return self._finder.detect(
            [waiting.pixels for waiting in batch], [waiting.min_score for waiting in batch]
        )


class FaceEmbedding:
    """`FaceEmbedder` on one replica: one recogniser, batches of crops across requests."""

    def __init__(self, settings: Settings, slot: str, threads: Executor | None = None) -> None:
        enter_replica(settings)
        recogniser = (
            Catalogue.read(settings.models_file).pack(settings.faces.pack).recognisers[slot]
        )
        path = ModelFiles(settings.models_dir).path(recogniser)
        sized: EmbedderSettings = getattr(settings.faces, slot)
        self._engine = load_embedder(recogniser, path, sized)
        self._dimension = recogniser.dimension
        self._max_waiting = sized.max_waiting
        self._batcher = Batcher(
            self._embed,
            max_size=sized.max_batch,
            streams=sized.streams,
            observe=EngineMetrics(f"face_embedding_{slot}").batch,
            threads=threads,
        )

    async def embed(
        self, crops: UInt8[np.ndarray, "n h w 3"], *, lane: Lane = Lane.INTERACTIVE
    ) -> Float32[np.ndarray, "n d"]:
        """Unit vectors, one per crop, in the order given; ``(0, d)`` for no crops."""
        if self._batcher.waiting > self._max_waiting:
            raise Overloaded(f"more than {self._max_waiting} faces wait for a recogniser")
        vectors: list[Float32[np.ndarray, " d"]] = []
        for outcome in await self._batcher(list(crops), lane=lane):
            if isinstance(outcome, Exception):
                raise told(outcome)
            vectors.append(outcome)
        return np.stack(vectors) if vectors else np.empty((0, self._dimension), np.float32)

    def _embed(
        self, crops: list[UInt8[np.ndarray, "h w 3"]]
    ) -> Sequence[Float32[np.ndarray, " d"]]:
        return list(self._engine.run(np.stack(crops)))


def _canvas_shape(waiting: _Waiting) -> tuple[int, ...]:
    return waiting.pixels.shape
