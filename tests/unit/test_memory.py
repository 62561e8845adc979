import ctypes
import subprocess
import sys

import pytest

from deployments.memory import Rest

GLIBC = hasattr(ctypes.CDLL(None), "malloc_trim")
# Blocks too small to be mapped each by itself, with one at the end that keeps them in the heap.
FREED = """
import time
import numpy as np
import psutil
import deployments.memory
from deployments.memory import return_memory_at_rest

def rss_mb():
    return psutil.Process().memory_info().rss / 1e6

deployments.memory.LOOK_S = 0.3
deployments.memory.WORTH_S = 0.0
blocks = [np.ones(100_000, np.uint8) for _ in range(2000)]
blocks, last = [], blocks[-1]
before = rss_mb()
return_memory_at_rest()
return_memory_at_rest()
deadline = time.monotonic() + 60
while rss_mb() > before - 150 and time.monotonic() < deadline:
    time.sleep(0.1)
print(before - rss_mb())
"""


class Process:
    """One that has used so many seconds of CPU, and has given memory back so often."""

    def __init__(self):
        self.cpu_s, self.given = 0.0, 0

    def trim(self):
        self.given += 1


@pytest.fixture
def process():
    return Process()


@pytest.fixture
def rest(process):
    return Rest(process.trim, lambda: process.cpu_s)


def after(process, rest, *spent):
    """How often memory was given back after looks 5 s apart, between which so much was done."""
    for cpu_s in spent:
        process.cpu_s += cpu_s
        rest.look(5.0)
    return process.given


def test_memory_is_given_back_once_after_work(process, rest):
    assert after(process, rest, 5.0, 5.0) == 0
    assert after(process, rest, 0.1) == 1
    assert after(process, rest, 0.1, 0.1, 0.1) == 1


def test_it_is_given_back_after_every_burst(process, rest):
    assert after(process, rest, 5.0, 0.1, 4.0, 0.1, 3.0, 0.0) == 3


def test_a_process_that_does_next_to_nothing_is_left_alone(process, rest):
    assert after(process, rest, *[0.1] * 19) == 0


@pytest.mark.skipif(not GLIBC, reason="only glibc can be asked to give memory back")
def test_what_was_freed_goes_back_to_the_system():
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", FREED], capture_output=True, text=True, check=True
    )

    assert float(done.stdout) > 150
