"""What the serving costs: the same engines in-process, behind our graph, and behind one FastAPI."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.load import Load, http_load
from benchmarks.pictures import one_face_jpeg
from benchmarks.report import report
from benchmarks.servers import await_port, cpu_s, running_omma, unused_port

WAYS = ((2, 1, 1), (1, 1, 2), (1, 2, 1))  # processes, threads of one inference, streams
CONCURRENCY = (1, 4, 16)
# Images at once: the framework's default, and the cores; whose file of the recogniser.
PLAIN = ((40, "converted"), (2, "converted"), (2, "published"))
EMBED = "/api/v1/faces/embed"


def main() -> None:
    """Interleave the three, several rounds; report medians and ratios to the best in-process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--config", default="config/local.yaml")
    args, _ = parser.parse_known_args()
    rows: list[dict[str, object]] = []
    for _ in range(args.rounds):
        rows += [_in_process(*way, args.seconds) for way in WAYS]
        rows += [row for way in PLAIN for row in _plain(*way, args.seconds)]
        rows += _served(Path(args.config), args.seconds)
    report("faces", "640x480 JPEG, one face: detect, align, embed (arcface)", _summary(rows))


def _summary(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    names = list(dict.fromkeys(str(row["what"]) for row in rows))
    medians = [
        {"what": name, **{k: _median(rows, name, k) for k in rows[0] if k != "what"}}
        for name in names
    ]
    best = max(float(str(r["per_s"])) for r in medians if str(r["what"]).startswith("(a)"))
    return [{**row, "of (a)": float(str(row["per_s"])) / best} for row in medians]


def _median(rows: list[dict[str, object]], name: str, key: str) -> float:
    return median(float(str(row[key])) for row in rows if row["what"] == name)


def _row(what: str, load: Load, cpu_s: float) -> dict[str, object]:
    return {
        "what": what,
        "per_s": load.per_s,
        "p50_ms": load.percentile_ms(50),
        "p99_ms": load.percentile_ms(99),
        "cpu_s_per_image": cpu_s / load.requests,
    }


def _in_process(processes: int, threads: int, streams: int, seconds: float) -> dict[str, object]:
    begins = time.time() + 6
    command = [sys.executable, "-m", "benchmarks.engines"]
    command += ["--threads", str(threads), "--streams", str(streams)]
    command += ["--begins", str(begins), "--seconds", str(seconds)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603  our own module
        for _ in range(processes)
    ]
    answers = [json.loads(process.communicate()[0]) for process in running]
    latencies = tuple(latency for answer in answers for latency in answer["latencies_ms"])
    load = Load(len(latencies), seconds, latencies)
    name = f"(a) in-process, {processes} x {threads} threads x {streams} streams"
    return _row(name, load, sum(answer["cpu_s"] for answer in answers))


def _plain(images: int, file: str, seconds: float) -> list[dict[str, object]]:
    port = unused_port()
    command = [sys.executable, "-m", "benchmarks.plain", str(port), str(images), file]
    name = f"(c) one FastAPI, {file} file, {images} at once"
    with subprocess.Popen(command) as process:  # noqa: S603  our own module
        try:
            await_port(port)
            rows = [
                _measured(f"{name}, c={c}", port, "/embed", [process.pid], c, seconds)
                for c in CONCURRENCY
            ]
        finally:
            process.terminate()
    return rows


def _served(config: Path, seconds: float) -> list[dict[str, object]]:
    with running_omma(config) as server:
        return [
            _measured(f"(b) omma, c={c}", server.port, EMBED, server.pids, c, seconds)
            for c in CONCURRENCY
        ]


def _measured(  # noqa: PLR0913, PLR0917  one measurement's whole description
    what: str, port: int, path: str, pids: list[int], concurrency: int, seconds: float
) -> dict[str, object]:
    jpeg = one_face_jpeg()
    http_load(port, path, jpeg, concurrency=concurrency, seconds=1.5)
    before = cpu_s(pids)
    load = http_load(port, path, jpeg, concurrency=concurrency, seconds=seconds)
    return _row(what, load, cpu_s(pids) - before)


if __name__ == "__main__":
    main()
