"""The batcher alone against `@serve.batch`: a fake model of 50 ms, whatever the batch."""

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
import ray
from ray import serve

from benchmarks.report import report
from benchmarks.servers import BENCH_HOME
from deployments.batching import Batcher
from deployments.surroundings import client_environment

MODEL_S = 0.050
BATCH = 8
IDEAL_PER_S = BATCH / MODEL_S
CALLERS = 4 * BATCH  # keep every batch full
LIGHT_PER_S = 0.37 * IDEAL_PER_S
SERVE_WAITS_S = (0.01, 0.0, MODEL_S)  # Serve's default, none, and as long as the model takes

Call = Callable[[int], Awaitable[object]]


@serve.deployment(max_ongoing_requests=1000)
class Bench:
    """Measures inside a replica: outside of one, `@serve.batch` refuses to run."""

    async def rows(self, seconds: float) -> list[dict[str, object]]:
        """One row a batcher: callers without a pause, and a light, random load."""
        rows = [await _row("omma", _omma, seconds)]
        for wait_s in SERVE_WAITS_S:
            name = f"@serve.batch, wait {wait_s * 1000:g} ms"
            rows.append(await _row(name, partial(_serve, wait_s), seconds))
        return rows


def main() -> None:
    """Measure all batchers in one process; Ray gets a token and a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    args, _ = parser.parse_known_args()
    home = BENCH_HOME.resolve()
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # Ray reads it when it is imported
        command = [sys.executable, "-m", "benchmarks.batcher", "--seconds", str(args.seconds)]
        environment = os.environ | client_environment(home)
        subprocess.run(command, check=True, env=environment)  # noqa: S603  ourselves
        return
    ray.init(
        address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    serve.start(proxy_location="Disabled")
    bench = serve.run(Bench.bind(), name="bench", route_prefix=None)
    rows = bench.rows.remote(args.seconds).result()
    report("batcher", f"batches of {BATCH}, {IDEAL_PER_S:g}/s at best, {CALLERS} callers", rows)


async def _row(what: str, make: Callable[[], Call], seconds: float) -> dict[str, object]:
    saturated = await _saturate(make(), seconds)
    p50_ms, p99_ms = await _trickle(make(), seconds)
    return {
        "what": what,
        "per_s": saturated,
        "of ideal": saturated / IDEAL_PER_S,
        "p50_ms at 37%": p50_ms,
        "p99_ms at 37%": p99_ms,
        "p50 in model times": p50_ms / (MODEL_S * 1000),
    }


def _omma() -> Call:
    def run(items: list[int]) -> list[int]:
        time.sleep(MODEL_S)
        return items

    batcher = Batcher(run, max_size=BATCH)
    return lambda item: batcher([item])


def _serve(wait_s: float) -> Call:
    def model(items: list[int]) -> list[int]:
        time.sleep(MODEL_S)
        return items

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=wait_s)
    async def run(items: list[int]) -> list[int]:
        return await asyncio.to_thread(model, items)

    return run


async def _saturate(call: Call, seconds: float) -> float:
    """Items a second with `CALLERS` callers that never pause."""
    begun = time.perf_counter()
    counts = await asyncio.gather(*(_caller(call, begun + seconds) for _ in range(CALLERS)))
    return sum(counts) / (time.perf_counter() - begun)


async def _caller(call: Call, ends: float) -> int:
    count = 0
    while time.perf_counter() < ends:
        await call(count)
        count += 1
    return count


async def _trickle(call: Call, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile in ms at 37% load, with calls at random moments."""
    random = np.random.default_rng(seed=0)
    tasks: list[asyncio.Task[float]] = []
    due = time.perf_counter()
    ends = due + seconds
    while (due := due + random.exponential(1 / LIGHT_PER_S)) < ends:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(_timed(call)))
    latencies = await asyncio.gather(*tasks)
    return float(np.percentile(latencies, 50)), float(np.percentile(latencies, 99))


async def _timed(call: Call) -> float:
    begun = time.perf_counter()
    await call(0)
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    main()
