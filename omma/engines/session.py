"""One ONNX file, loaded once and run from any thread."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped

from omma.domain.errors import ModelCorrupt, ModelMissing, OutOfMemory

log = logging.getLogger(__name__)

Gpu = Literal["auto", "never"]

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
# Values one run may take on a CPU: one 640x640 image, 32 crops of 112x112, 16 of 160x160. Larger
# batches are no faster there (CenterFace 58 ms an image alone, 61 in eights), only 80 MB larger
# for every image more.
CPU_RUN_VALUES = 640 * 640 * 3
# The runtime has one exception for all that fails while running; what it says tells them apart.
MEMORY_SIGNS = (
    "failed to allocate memory",
    "out of memory",
    "bad allocation",
    "bad_alloc",
    "alloc_failed",
    "available memory of",
)


class OnnxSession:
    """An inference session on the GPU where there is one, else on the CPU."""

    def __init__(
        self, path: Path, *, threads: int = 1, gpu: Gpu = "never", gpu_memory_mb: int = 0
    ) -> None:
        # The heavy runtime loads with the first engine; it has no stubs.
        import onnxruntime  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

        wanted = _providers(onnxruntime, gpu, gpu_memory_mb)
        self._session = _load(onnxruntime, path, threads, wanted)
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        if gpu == "auto" and CUDA not in self.providers:
            log.warning("no gpu for this model, running on the cpu", extra={"model": path.name})
        self._input: str = self._session.get_inputs()[0].name
        self.output_count: int = len(self._session.get_outputs())
        self._failures = _failures(onnxruntime)
        self._run_large = _returning_memory(onnxruntime) if not self.is_on_gpu else None

    @property
    def is_on_gpu(self) -> bool:
        """Whether an accelerator runs the model."""
        return CUDA in self.providers

    def parts(self, batch: Shaped[np.ndarray, "n ..."]) -> Iterator[Shaped[np.ndarray, "k ..."]]:
        """``batch`` as views of as many rows as one run should take: on a GPU, all at once."""
        rows = len(batch) if self.is_on_gpu else CPU_RUN_VALUES // max(1, batch[:1].size)
        for start in range(0, len(batch), max(1, rows)):
            yield batch[start : start + max(1, rows)]

    def run(self, inputs: Shaped[np.ndarray, "n ..."]) -> list[np.ndarray]:
        """Every output of one inference; raises `OutOfMemory` when it did not fit."""
        options = self._run_large if inputs.size > CPU_RUN_VALUES else None
        try:
            return self._session.run(None, {self._input: inputs}, options)
        except self._failures as error:
            if _is_out_of_memory(error):
                raise OutOfMemory(f"no memory for a batch of {inputs.shape}") from None
            raise


def _providers(
    onnxruntime: Any, gpu: Gpu, gpu_memory_mb: int
) -> list[tuple[str, Mapping[str, str]]]:
    cpu: list[tuple[str, Mapping[str, str]]] = [(CPU, {})]
    if gpu == "never" or CUDA not in onnxruntime.get_available_providers():
        return cpu
    onnxruntime.preload_dlls()  # CUDA and cuDNN lie in wheels, where the loader does not look
    options = {
        "arena_extend_strategy": "kSameAsRequested",  # others share the card: take no spare
        "cudnn_conv_algo_search": "HEURISTIC",  # exhaustive search costs seconds per shape
    }
    if gpu_memory_mb:
        options["gpu_mem_limit"] = str(gpu_memory_mb * 2**20)
    return [(CUDA, options), *cpu]


def _load(
    onnxruntime: Any, path: Path, threads: int, providers: list[tuple[str, Mapping[str, str]]]
) -> Any:
    if not path.is_file():
        raise ModelMissing(str(path))
    vendor = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        return onnxruntime.InferenceSession(
            path, sess_options=_options(onnxruntime, threads), providers=providers
        )
    except (vendor.InvalidProtobuf, vendor.InvalidGraph, *_failures(onnxruntime)) as error:
        if _is_out_of_memory(error):
            raise OutOfMemory(f"no memory to load {path.name}") from None
        raise ModelCorrupt(f"{path.name} does not load: {error}") from None


def _options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # cores are shared
    # A pattern is planned and kept for every new input shape; canvases come in hundreds.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors: warnings are about how the file was exported
    return options


def _returning_memory(onnxruntime: Any) -> Any:
    """What a large run is told: to give back what it took, which else would be kept for good.

    It makes a run a tenth slower; after a 1280x960 canvas the process is 160 MB smaller.
    """
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _failures(onnxruntime: Any) -> tuple[type[Exception], ...]:
    vendor = onnxruntime.capi.onnxruntime_pybind11_state
    return (vendor.RuntimeException, vendor.Fail, vendor.EPFail, MemoryError)


def _is_out_of_memory(error: Exception) -> bool:
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in said for sign in MEMORY_SIGNS)
