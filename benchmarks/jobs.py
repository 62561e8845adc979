"""Durable jobs: how many come in over HTTP, how many one runner ends, how soon events go out.

``python -m benchmarks.jobs [--seconds S] [--jobs N] [--events N]``
"""

import argparse
import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson

from benchmarks.following import latencies_ms
from benchmarks.load import Load, http_load
from benchmarks.queue import databases
from benchmarks.report import report
from benchmarks.servers import cpu_s, running_omma
from benchmarks.working import work_off_s

LOCAL = Path("config/local.yaml")
CONCURRENCY = (1, 32)
DAY_MS = 24 * 3600 * 1000
WARM_UP_S = 2.0

Row = dict[str, object]


def main() -> None:
    """Measure both databases, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--events", type=int, default=200)
    args, _ = parser.parse_known_args()
    with databases() as urls:
        worked = [_work(kind, url, args.jobs) for kind, url in urls.items()]
        told = [_events(kind, url, args.events) for kind, url in urls.items()]
        sent = [row for kind, url in urls.items() for row in _sent(kind, url, args.seconds)]
    report("submissions", "POST /job/face_detection, config/local.yaml", sent)
    report("work", "Empty jobs, claimed and finished by one runner", worked)
    report("events", "From a request at one ingress to its event at another", told)


def _work(kind: str, url: str, jobs: int) -> Row:
    took_s = asyncio.run(work_off_s(url, jobs))
    return {"what": kind, "jobs": jobs, "jobs/s": jobs / took_s, "load": _load()}


def _events(kind: str, url: str, count: int) -> Row:
    took_ms = latencies_ms(url, count)
    return {"what": kind, "events": len(took_ms), **_percentiles(took_ms), "load": _load()}


def _sent(kind: str, url: str, seconds: float) -> list[Row]:
    """The runner beside the routes is idle: what is submitted here waits for another day."""
    body = orjson.dumps(
        {"url": "https://example.org/a.jpg", "scheduled_at": int(time.time() * 1000) + DAY_MS}
    )
    with running_omma(LOCAL, DATABASE_URL=url, OMMA_JOBS__QUOTA="1000000") as server:
        _post(server.port, body, CONCURRENCY[-1], WARM_UP_S)
        return [_stretch(kind, server.port, server.pids, body, c, seconds) for c in CONCURRENCY]


def _stretch(  # noqa: PLR0913, PLR0917  one measurement's whole description
    kind: str, port: int, pids: Sequence[int], body: bytes, concurrency: int, seconds: float
) -> Row:
    before = cpu_s(list(pids))
    load = _post(port, body, concurrency, seconds)
    used = cpu_s(list(pids)) - before
    return {
        "what": f"{kind}, c={concurrency}",
        "submissions/s": load.per_s,
        **_percentiles(load.latencies_ms),
        "server's CPU ms per submission": 1000 * used / load.requests,
        "load": _load(),
    }


def _post(port: int, body: bytes, concurrency: int, seconds: float) -> Load:
    return http_load(
        port,
        "/job/face_detection",
        body,
        concurrency=concurrency,
        seconds=seconds,
        media_type="application/json",
    )


def _percentiles(took_ms: Sequence[float]) -> Row:
    return {f"p{q}_ms": float(np.percentile(took_ms, q)) for q in (50, 99)}


def _load() -> float:
    """Of the whole machine, over the last minute: what else ran."""
    return os.getloadavg()[0]


if __name__ == "__main__":
    main()
