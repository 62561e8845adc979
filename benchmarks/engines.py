"""The engines called directly: no server, no batcher, no queue."""

import argparse
import json
import resource
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.pictures import one_face_jpeg
from omma.domain.faces import DetectOptions
from omma.engines.finder import FaceFinder
from omma.engines.loading import load_detector, load_embedder
from omma.settings import EngineSettings, Settings
from omma.stores.catalogue import Catalogue
from omma.stores.models import ModelFiles
from omma.vision.images import ImageLimits


class Engines:
    """Detector and ArcFace of the configured pack, one image at a time.

    With ``is_published`` the recogniser's file is the one that its authors published, as whoever
    writes a service of their own would load it.
    """

    def __init__(
        self, settings: Settings, sized: EngineSettings, *, is_published: bool = False
    ) -> None:
        catalogue = Catalogue.read(settings.models_file)
        pack = catalogue.pack(settings.faces.pack)
        files = ModelFiles(settings.models_dir)
        recogniser = pack.recognisers["arcface"]
        [model] = catalogue.members(recogniser.name)
        file = files.original(model) if is_published else files.path(recogniser)
        detector = load_detector(pack.detector, files.path(pack.detector), sized)
        limits = ImageLimits(settings.images.max_pixels, settings.images.max_frames)
        self._finder = FaceFinder(detector, limits, policy="tight")
        self._embedder = load_embedder(recogniser, file, sized)
        self._options = DetectOptions(alignments=(recogniser.alignment,))
        self._alignment = recogniser.alignment

    def embed(self, jpeg: bytes) -> np.ndarray:
        """Embeddings ``(n, d)`` of the faces in ``jpeg``."""
        prepared = self._finder.prepare(jpeg, self._options)
        [candidates] = self._finder.detect([prepared.pixels], [self._options.min_score])
        detection = self._finder.finish(prepared, candidates, self._options)
        return self._embedder.run(detection.aligned[self._alignment])


def _loop(engines: Engines, jpeg: bytes, begins: float, seconds: float) -> list[float]:
    time.sleep(max(0.0, begins - time.time()))
    latencies: list[float] = []
    while (started := time.time()) < begins + seconds:
        engines.embed(jpeg)
        latencies.append((time.time() - started) * 1000)
    return latencies


def main() -> None:
    """Run for a while from an agreed moment on; print latencies and CPU seconds as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--begins", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    engines = Engines(Settings(), EngineSettings(threads=args.threads, gpu="never"))
    jpeg = one_face_jpeg()
    engines.embed(jpeg)
    before = _cpu_s()
    with ThreadPoolExecutor(args.streams) as pool:
        loops = [
            pool.submit(_loop, engines, jpeg, args.begins, args.seconds)
            for _ in range(args.streams)
        ]
        latencies = [latency for loop in loops for latency in loop.result()]
    print(json.dumps({"latencies_ms": latencies, "cpu_s": _cpu_s() - before}))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
