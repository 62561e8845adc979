"""From a catalogue's description of a model to the engine that runs it."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np

from omma.domain.errors import CannotStart, ModelNotFound
from omma.domain.faces import Alignment
from omma.domain.models import DetectorInfo, Framing, Model, RecogniserInfo
from omma.engines.arcface import ArcFace
from omma.engines.centerface import CenterFace
from omma.engines.facenet import FaceNet
from omma.engines.fake import FakeDetector, FakeEmbedder
from omma.engines.framing import SIDES
from omma.engines.resnet import ResNet
from omma.engines.scrfd import Scrfd
from omma.engines.session import Gpu, OnnxSession
from omma.ports.faces import DetectorEngine, EmbedderEngine
from omma.ports.images import ImageEmbedderEngine

Family = TypeVar("Family")

FAKE = "fake"  # a family without weights, for clusters that only prove how they are put together
WARM_CANVAS = (1, 640, 640, 3)
CROP_SIDES: Mapping[Alignment, int] = {Alignment.ARCFACE_112: 112, Alignment.FACENET_160: 160}

_DETECTORS: Mapping[str, Callable[[OnnxSession], DetectorEngine]] = {
    "centerface": CenterFace,
    "scrfd": Scrfd,
}
_EMBEDDERS: Mapping[str, Callable[[OnnxSession, int], EmbedderEngine]] = {
    "arcface": ArcFace,
    "facenet": FaceNet,
}
_IMAGE_EMBEDDERS: Mapping[str, Callable[[OnnxSession, int], ImageEmbedderEngine]] = {
    "resnet": ResNet,
}


class RuntimeSettings(Protocol):
    """What an engine's settings say about the runtime."""

    @property
    def threads(self) -> int:
        """Threads of one inference."""
        ...

    @property
    def streams(self) -> int:
        """Inferences that run at once."""
        ...

    @property
    def gpu(self) -> Gpu:
        """Whether a GPU may be used."""
        ...

    @property
    def gpu_memory_mb(self) -> int:
        """Most GPU memory the runtime may take; 0 leaves it to the runtime."""
        ...


def load_detector(info: DetectorInfo, path: Path, settings: RuntimeSettings) -> DetectorEngine:
    """Load the detector's file at ``path`` and run it once on every stream."""
    if info.family == FAKE:
        return FakeDetector()
    engine = _family(_DETECTORS, info.family)(_session(path, settings))
    canvas = np.zeros(WARM_CANVAS, np.uint8)
    _warm_up(lambda: engine.run(canvas, [0.5]), settings.streams)
    return engine


def load_embedder(info: RecogniserInfo, path: Path, settings: RuntimeSettings) -> EmbedderEngine:
    """Load the recogniser's file at ``path`` and run it once on every stream."""
    if info.family == FAKE:
        return FakeEmbedder(info.dimension)
    engine = _family(_EMBEDDERS, info.family)(_session(path, settings), info.dimension)
    side = CROP_SIDES[info.alignment]
    crops = np.zeros((1, side, side, 3), np.uint8)
    _warm_up(lambda: engine.run(crops), settings.streams)
    return engine


def load_image_embedder(model: Model, path: Path, settings: RuntimeSettings) -> ImageEmbedderEngine:
    """Load the file at ``path`` of a model of whole images and run it once on every stream."""
    if model.family == FAKE:
        return FakeEmbedder(model.dimension)
    build = _family(_IMAGE_EMBEDDERS, model.family)
    engine = build(_session(path, settings), model.dimension)
    side = SIDES[framing_of(model)]
    image = np.zeros((1, side, side, 3), np.uint8)
    _warm_up(lambda: engine.run(image), settings.streams)
    return engine


def framing_of(model: Model) -> Framing:
    """How ``model`` wants its images; `CannotStart` when it is none of whole images."""
    if model.framing is None:
        raise CannotStart(f"expected a model of whole images, got {model.name!r}")
    return model.framing


def _session(path: Path, settings: RuntimeSettings) -> OnnxSession:
    cv2.setNumThreads(settings.threads)  # streams decode at once: OpenCV would take every core
    return OnnxSession(
        path,
        threads=settings.threads,
        gpu=settings.gpu,
        gpu_memory_mb=settings.gpu_memory_mb,
    )


def _family(families: Mapping[str, Family], name: str) -> Family:
    if name not in families:
        raise ModelNotFound(name, tuple(families))
    return families[name]


def _warm_up(run: Callable[[], object], streams: int) -> None:
    """Let the first requests find all memory taken and every kernel chosen."""
    with ThreadPoolExecutor(streams) as pool:
        for future in [pool.submit(run) for _ in range(streams)]:
            future.result()
