"""Servers under measurement: started, awaited, watched and stopped."""

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from deployments.instance import of_home
from deployments.reaping import marked, memory_mb
from deployments.surroundings import free_port

PATIENCE_S = 180
BENCH_HOME = Path("var/bench/home")
REST_S = 1800  # a server that works for longer is not measured


@dataclass(frozen=True, slots=True)
class Server:
    """A running omma."""

    port: int
    pids: list[int]
    ready_s: float
    owns: Callable[[str], bool]  # whether a process' mark is one of this server's

    def memory_mb(self) -> float:
        """Proportional set size of all its processes, now."""
        return memory_mb(marked(self.owns))


@contextmanager
def running_omma(config: Path, **variables: str) -> Iterator[Server]:
    """``omma up`` on a free port, with the models of this clone and state of its own.

    ``variables`` join those of the environment.
    """
    port, home = unused_port(), BENCH_HOME
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "models").exists():
        (home / "models").symlink_to(Path("var/models").resolve())
    lifecycle = [sys.executable, "-m", "deployments.lifecycle"]
    chosen = ["--home", str(home), "--config", str(config)]
    command = [*lifecycle, "up", *chosen, "--port", str(port)]
    begun = time.monotonic()
    with subprocess.Popen(command, env=os.environ | variables) as process:  # noqa: S603
        try:
            _await_health(port, process)
            ready_s = time.monotonic() - begun
            time.sleep(5)  # what starts with the system has settled, or submitted a job
            await_rest(port)
            owns = of_home(home.resolve())
            yield Server(port, [process.pid for process in marked(owns)], ready_s, owns)
        finally:
            process.terminate()


def await_rest(port: int, *, pause_s: float = 1.0) -> None:
    """Return when no job runs and no index waits to be rebuilt; say what had to be waited for."""
    begun, awaited = time.monotonic(), set[str]()
    while working := _working(port):
        if time.monotonic() - begun > REST_S:
            raise TimeoutError(f"the server still works on {', '.join(sorted(working))}")
        awaited |= working
        time.sleep(pause_s)
    if awaited:
        took_s = time.monotonic() - begun
        print(f"measuring began {took_s:.0f} s later, after {', '.join(sorted(awaited))}")


def _working(port: int) -> set[str]:
    """Operations that jobs run, or are about to take all cores with."""
    found = set[str]()
    for wanted in ("status=processing", "status=pending&task_type=index_rebuild"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/jobs?{wanted}", timeout=30) as answer:
            found |= {job["task_type"] for job in json.load(answer)["jobs"]}
    return found


def cpu_s(pids: list[int]) -> float:
    """CPU seconds that these processes have used; those that ended count no more."""
    total = 0.0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def unused_port() -> int:
    """A loopback port between those of Ray's workers and those that the system hands out."""
    return free_port(random.randrange(20_000, 32_000))  # noqa: S311


def await_port(port: int) -> None:
    """Return when something listens on ``port``."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(port)


def _await_health(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends and process.poll() is None:
        with (
            suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5),
        ):
            return
        time.sleep(0.1)
    raise TimeoutError(os.strerror(110) if process.poll() is None else "omma up has ended")
