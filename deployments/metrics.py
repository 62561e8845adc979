"""What the replicas count and time, and how Prometheus reads it from this node."""

import re
import urllib.request
from typing import Any, Protocol

import ray
from ray.serve.metrics import Counter, Gauge, Histogram

from deployments.batching import BatchStats
from omma.domain.errors import OmmaError
from omma.domain.indexes import IndexStats, Published
from omma.operations.declaring import Observation

SIZES = [1.0, 2, 4, 8, 16, 32, 64, 128]
MILLISECONDS = [1.0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]
SECONDS = [each / 1000 for each in MILLISECONDS]
SHOWN = re.compile(r"^(# (HELP|TYPE) )?ray_(omma_|serve_)")
OURS = re.compile(r"\bray_omma_")  # Ray puts its own name before every metric
TIMEOUT_S = 5.0
# This very node is never behind a proxy, whatever `http_proxy` says.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class EngineMetrics:
    """Histograms of one engine: batch sizes, waiting, running and decoding times."""

    def __init__(self, engine: str) -> None:
        tags = {"engine": engine}
        self._size = _histogram("omma_batch_size", "Items in one batch.", SIZES, tags)
        self._queue = _histogram(
            "omma_queue_wait_ms", "Longest wait of a batch's items.", MILLISECONDS, tags
        )
        self._engine = _histogram("omma_engine_ms", "Time of one batch.", MILLISECONDS, tags)
        self._decode = _histogram("omma_decode_ms", "Time of one image.", MILLISECONDS, tags)

    def batch(self, stats: BatchStats) -> None:
        """Record one batch; a `Batcher` calls this."""
        tags = {"lane": stats.lane.value}
        self._size.observe(stats.size, tags)
        self._queue.observe(stats.queue_wait_ms, tags)
        self._engine.observe(stats.engine_ms, tags)

    def decode(self, took_ms: float, lane: str) -> None:
        """Record the decoding of one image."""
        self._decode.observe(took_ms, {"lane": lane})


class Sized(Protocol):
    """An opened index."""

    @property
    def stats(self) -> IndexStats:
        """How large it is."""
        ...


class IndexMetrics:
    """`SwapObserver`: what one process serves of an index, and what it could not."""

    def __init__(self, index: str) -> None:
        self._index = index
        key: Any = ("index",)  # Serve annotates a tuple of one
        coded: Any = ("index", "code")
        versions: Any = ("index", "version")
        self._items = Gauge("omma_index_items", "Items of the snapshot that is served.", key)
        self._vectors = Gauge("omma_index_vectors", "Vectors of it.", key)
        self._sequence = Gauge("omma_index_sequence", "Which publication it is.", key)
        self._served = Gauge("omma_index_served", "1 for the version that is served.", versions)
        self._swaps = Counter("omma_index_swaps", "Snapshots that came into service.", key)
        self._failures = Counter(
            "omma_index_failures", "Published snapshots that could not be served, by code.", coded
        )
        self._version = ""

    def swapped(self, published: Published, engine: Sized) -> None:
        """This is served from now on."""
        index, stats = {"index": self._index}, engine.stats
        self._items.set(stats.items, index)
        self._vectors.set(stats.vectors, index)
        self._sequence.set(published.sequence, index)
        if self._version:
            self._served.set(0, {**index, "version": self._version})
        self._version = published.version
        self._served.set(1, {**index, "version": self._version})
        self._swaps.inc(1, index)

    def failed(self, published: Published, error: Exception) -> None:
        """This could not be made ready."""
        del published  # a label of each would never end
        code = error.code if isinstance(error, OmmaError) else OmmaError.code
        self._failures.inc(1, {"index": self._index, "code": code})


class OperationMetrics:
    """What the operations of one process were asked, what failed, and how long it took."""

    def __init__(self) -> None:
        keys: Any = ("operation", "lane")  # Serve annotates a tuple of one
        self._images = Counter(
            "omma_operation_images", "Images that an operation was asked about.", keys
        )
        self._errors = Counter(
            "omma_operation_errors", "Images without an answer, by code.", (*keys, "code")
        )
        self._seconds = Histogram(
            "omma_operation_s", "Time of one call of an operation.", SECONDS, keys
        )

    def observe(self, seen: Observation) -> None:
        """Record one call; a `BoundOperation` calls this."""
        tags = {"operation": seen.operation, "lane": seen.lane.value}
        self._images.inc(seen.images, tags)
        for code in seen.errors:
            self._errors.inc(1, {**tags, "code": code})
        self._seconds.observe(seen.took_s, tags)


def node_metrics() -> str:
    """Omma's and Serve's metrics of this node in Prometheus text; blocks for milliseconds."""
    here = ray.get_runtime_context().get_node_id()
    [port] = [node["MetricsExportPort"] for node in ray.nodes() if node["NodeID"] == here]
    return shown(scrape(port))


def scrape(port: int) -> str:
    """What the agent of this node tells Prometheus."""
    with DIRECT.open(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_S) as answer:
        return answer.read().decode()


def shown(text: str) -> str:
    """The lines of ``text`` that operators of omma look at; ours under their own names."""
    lines = (line for line in text.splitlines(keepends=True) if SHOWN.match(line))
    return "".join(OURS.sub("omma_", line) for line in lines)


def _histogram(
    name: str, description: str, boundaries: list[float], tags: dict[str, str]
) -> Histogram:
    keys: Any = ("engine", "lane")  # Serve annotates a tuple of one
    histogram = Histogram(name, description, boundaries, tag_keys=keys)
    histogram.set_default_tags(dict(tags))  # Serve adds its own to what it is given
    return histogram
