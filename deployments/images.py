"""Models of whole images on replicas; each class answers a port of `omma.ports.images`."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Lock

import numpy as np
from jaxtyping import Float32

from deployments.batching import Batcher
from deployments.faults import told
from deployments.metrics import EngineMetrics
from deployments.replica import enter_replica
from omma.domain.errors import OmmaError
from omma.domain.faces import Lane
from omma.domain.images import ImageEmbedding as Embedded
from omma.domain.models import image_space
from omma.engines.framing import Framed, frame
from omma.engines.loading import framing_of, load_image_embedder
from omma.ports.images import ImageEmbedderEngine
from omma.settings import Settings
from omma.stores.catalogue import Catalogue
from omma.stores.models import ModelFiles
from omma.vision.images import ImageLimits


class ImageEmbedding:
    """`ImageEmbedder` on one replica: decodes, shares batches across requests.

    ``threads`` are those of all engines in this process, where there are several.
    """

    def __init__(self, settings: Settings, threads: Executor | None = None) -> None:
        enter_replica(settings)
        sized = settings.embedding
        self._model = Catalogue.read(settings.models_file).model(sized.model)
        self._framing, self._space = framing_of(self._model), image_space(self._model)
        self._limits = ImageLimits(settings.images.max_pixels, settings.images.max_frames)
        path = ModelFiles(settings.models_dir).path(self._model)  # missing is told at once
        self._loading = _Loading(lambda: load_image_embedder(self._model, path, sized))
        if not sized.is_lazy:
            self._loading.engine()
        self._metrics = EngineMetrics("image_embedding")
        self._batcher = Batcher(
            self._embed,
            max_size=sized.max_batch,
            streams=sized.streams,
            observe=self._metrics.batch,
            threads=threads,
        )
        self._threads = threads or ThreadPoolExecutor(sized.streams, thread_name_prefix="decode")
        held = 2 * sized.streams * sized.max_batch  # decoded images, which are large before framing
        self._held = {lane: asyncio.Semaphore(held) for lane in Lane}

    async def embed(
        self, images: Sequence[bytes], *, lane: Lane = Lane.INTERACTIVE
    ) -> list[Embedded | OmmaError]:
        """One embedding, or the reason why not, per image in the order given."""
        return list(await asyncio.gather(*(self._one(image, lane) for image in images)))

    async def _one(self, image: bytes, lane: Lane) -> Embedded | OmmaError:
        try:
            async with self._held[lane]:
                return await self._embedded(image, lane)
        except Exception as error:  # noqa: BLE001  told to its own caller, and to the log
            return told(error)

    async def _embedded(self, image: bytes, lane: Lane) -> Embedded:
        run = asyncio.get_running_loop().run_in_executor
        framed = await run(self._threads, frame, image, self._limits, self._framing)
        self._metrics.decode(framed.decode_ms, lane)
        queued = time.perf_counter()
        [outcome] = await self._batcher([framed], lane=lane)
        if isinstance(outcome, Exception):
            raise outcome
        embed_ms = (time.perf_counter() - queued) * 1000
        return Embedded(
            space=self._space,
            model=self._model.name,
            values=outcome,
            width_px=framed.width_px,
            height_px=framed.height_px,
            timings_ms={"decode": framed.decode_ms, "embed": embed_ms},
        )

    def _embed(self, batch: list[Framed]) -> Sequence[Float32[np.ndarray, " d"]]:
        return list(self._loading.engine().run(np.stack([framed.pixels for framed in batch])))


class _Loading:
    """The engine, loaded by whichever thread first asks for it; a failure is tried again."""

    def __init__(self, load: Callable[[], ImageEmbedderEngine]) -> None:
        self._load = load
        self._lock = Lock()
        self._engine: ImageEmbedderEngine | None = None

    def engine(self) -> ImageEmbedderEngine:
        with self._lock:
            if self._engine is None:
                self._engine = self._load()
            return self._engine
