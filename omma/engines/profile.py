"""Where the time of one inference goes, by operator."""

import json
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float32

OPEN_SIDE_PX = 640  # height and width where a model leaves them open
WARM_UP_RUNS = 2  # the first runs take memory, which the later ones find


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """What all nodes of one operator take of one inference on the CPU."""

    operator: str  # as the runtime executes it: fused and reordered
    nodes: int
    time_ms: float
    share: float  # of all operators, 0 to 1


def profile(path: Path, *, batch: int, threads: int, runs: int) -> list[OperatorTime]:
    """Mean times over ``runs`` inferences of noise through the file at ``path``, longest first."""
    runtime: Any = import_module("onnxruntime")  # loads with the first use; it has no types

    with TemporaryDirectory() as folder:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        image = session.get_inputs()[0]
        noise = _noise(image.shape, batch)
        for _ in range(WARM_UP_RUNS + runs):
            session.run(None, {image.name: noise})
        events = json.loads(Path(session.end_profiling()).read_bytes())
    return _summary(events, runs)


def _noise(shape: list[int | str | None], batch: int) -> Float32[np.ndarray, "n ..."]:
    sides = [size if isinstance(size, int) else OPEN_SIDE_PX for size in shape[1:]]
    return np.random.default_rng(0).uniform(-1, 1, (batch, *sides)).astype(np.float32)


def _summary(events: list[dict[str, Any]], runs: int) -> list[OperatorTime]:
    """Count the events of the last ``runs``: every run has as many events of kernels."""
    kernels = [
        event
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]
    kernels = kernels[WARM_UP_RUNS * len(kernels) // (WARM_UP_RUNS + runs) :]
    nodes = Counter(str(event["args"]["op_name"]) for event in kernels)
    times_us: Counter[str] = Counter()
    for event in kernels:
        times_us[str(event["args"]["op_name"])] += event["dur"]
    total_us = max(1, times_us.total())
    return [
        OperatorTime(name, nodes[name] // runs, time_us / runs / 1000, time_us / total_us)
        for name, time_us in times_us.most_common()
    ]
