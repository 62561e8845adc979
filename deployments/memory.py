"""Memory that a burst of work needed, given back to the system when the process comes to rest.

glibc keeps most of what is freed: after the models were read that is 125 MB, after a photograph
of a whole table of cards 300. Giving it back takes milliseconds, in which nobody can allocate;
so it is done when little else is.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LOOK_S = 5.0
REST_SHARE = 0.3  # of a core: below it the process rests
WORTH_S = 2.0  # of CPU since the last time: after less, there is little to give back

_started = threading.Lock()


@dataclass(slots=True)
class Rest:
    """Gives memory back once after each burst of work."""

    trim: Callable[[], object]
    cpu_s: Callable[[], float] = time.process_time
    _seen_s: float = 0.0
    _given_s: float = 0.0

    def look(self, passed_s: float) -> None:
        """See how much was done in the last ``passed_s`` seconds, and act when that was little."""
        now_s = self.cpu_s()
        rests = now_s - self._seen_s < REST_SHARE * passed_s
        self._seen_s = now_s
        if rests and now_s - self._given_s >= WORTH_S:
            self._given_s = now_s
            self.trim()


def return_memory_at_rest() -> None:
    """Do so in this process until it ends; asked again, or without glibc, change nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None and _started.acquire(blocking=False):
        rest = Rest(lambda: trim(0))
        threading.Thread(target=_watch, args=(rest,), name="memory", daemon=True).start()


def _watch(rest: Rest) -> None:
    while True:
        began = time.monotonic()
        time.sleep(LOOK_S)
        rest.look(time.monotonic() - began)
