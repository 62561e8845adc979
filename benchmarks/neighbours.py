"""How long an answer takes beside busy programs, by its own niceness and by theirs.

It takes turns within one server, and so must be root: others may only ever yield more.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import psutil

from benchmarks.load import Load, http_load
from benchmarks.pictures import one_face_jpeg
from benchmarks.report import report
from benchmarks.servers import Server, running_omma
from deployments.reaping import marked

RANKS = {"Ray's 15": 15, "omma's 0": 0}
NEIGHBOURS = (None, 19, 0)  # niceness of one program per core; a rebuild's tasks have 19
EMBED = "/api/v1/faces/embed"
# What a rebuild does all the time; the word says that it has begun.
REBUILD = """
import os, sys, cv2, numpy as np
os.nice(int(sys.argv[1]))
cv2.setNumThreads(1)
picture = np.random.default_rng(0).integers(0, 256, (600, 430), np.uint8)
print(flush=True)
while True:
    cv2.SIFT.create().detectAndCompute(picture, None)
"""


def main() -> None:
    """Give the replicas of one server one rank after the other, several rounds; report medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--config", default="config/local.yaml")
    args, _ = parser.parse_known_args()
    loads: dict[tuple[str, int | None], list[Load]] = {}
    with running_omma(Path(args.config)) as server:
        _ask(server, args.seconds)  # the first answers are slower
        for _ in range(args.rounds):
            for rank, niceness in RANKS.items():
                _rank(server, niceness)
                for theirs in NEIGHBOURS:
                    with _neighbours(theirs):
                        loads.setdefault((rank, theirs), []).append(_ask(server, args.seconds))
    rows = [_row(rank, theirs, each) for (rank, theirs), each in loads.items()]
    report("neighbours", "one face, one caller; beside one busy program per core", rows)


def _ask(server: Server, seconds: float) -> Load:
    return http_load(server.port, EMBED, one_face_jpeg(), concurrency=1, seconds=seconds)


def _rank(server: Server, niceness: int) -> None:
    """Give every thread of Serve's processes this niceness."""
    for worker in marked(server.owns):
        if worker.command.startswith("ray::Serve"):
            for thread in psutil.Process(worker.pid).threads():
                os.setpriority(os.PRIO_PROCESS, thread.id, niceness)


@contextmanager
def _neighbours(niceness: int | None) -> Iterator[None]:
    """One busy program per core, in the session of the server: the kernel ranks within one."""
    with ExitStack() as stack:
        for _ in range((psutil.cpu_count() or 1) if niceness is not None else 0):
            command = [sys.executable, "-c", REBUILD, str(niceness)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603  our own
            stack.enter_context(process)
            stack.callback(process.kill)
            stack.enter_context(process.stdout or sys.stdout).readline()
        yield


def _row(rank: str, theirs: int | None, loads: list[Load]) -> dict[str, object]:
    beside = "alone" if theirs is None else f"beside niceness {theirs}"
    return {
        "what": f"replicas at {rank}, {beside}",
        "p50_ms": median(load.percentile_ms(50) for load in loads),
        "p99_ms": median(load.percentile_ms(99) for load in loads),
        "per_s": median(load.per_s for load in loads),
    }


if __name__ == "__main__":
    main()
