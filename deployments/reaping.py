"""Which processes are ours, and how they end: by pid and start time, never by name.

Every process of an instance inherits an environment variable that says so; those that have
overwritten theirs, as Ray's agents do to show another name, belong where their parent does.
A pid file descriptor pins the process between the look and the signal, so that a pid which
the kernel gave to somebody else is never hit.
"""

import os
import re
import select
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MARKER = "OMMA_INSTANCE"
PREFIX = f"{MARKER}=".encode()
PROC = Path("/proc")
LONGEST_COMMAND = 120  # enough to tell them apart; Ray writes thousands of characters
KILL_ROUNDS = 5  # a dying parent may still have borne children
KILL_WAIT_S = 5.0


@dataclass(frozen=True, slots=True, order=True)
class Process:
    """One process; the start time tells it from later ones with the same pid."""

    pid: int
    started: int  # clock ticks since boot
    name: str = ""
    command: str = ""
    parent: int = field(default=0, compare=False)  # orphans get another


def find(pid: int) -> Process | None:
    """The process of this pid, if it lives."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
        command = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").strip()
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(")")  # the name itself may hold either
    state, *fields = rest.split()
    if state in "ZX":
        return None
    shown = command.decode(errors="ignore")[:LONGEST_COMMAND]
    return Process(pid, int(fields[18]), name, shown, parent=int(fields[0]))


def itself() -> Process:
    """The process that asks."""
    process = find(os.getpid())
    if process is None:
        raise ProcessLookupError(f"no /proc/{os.getpid()}: omma runs on Linux only")
    return process


def is_alive(process: Process) -> bool:
    """Whether it is still there, and still the same one."""
    now = find(process.pid)
    return now is not None and now.started == process.started


def marked(belongs: Callable[[str], bool]) -> list[Process]:
    """Every live process of this user whose mark ``belongs``."""
    return sorted(process for process, mark in _marks() if belongs(mark))


def reap(
    belongs: Callable[[str], bool],
    *,
    grace_s: float,
    spare: Collection[int] = (),
    known: Collection[Process] = (),
) -> list[Process]:
    """End every process whose mark ``belongs``, politely first; answer those there were.

    ``known`` are ended too: an orphan that has overwritten its mark shows it in no other way.
    """

    def left() -> list[Process]:
        seen = {process.pid: process for process in [*filter(is_alive, known), *marked(belongs)]}
        return sorted(process for pid, process in seen.items() if pid not in spare)

    found = left()
    end(found, grace_s=grace_s)
    for _ in range(KILL_ROUNDS):
        if not (late := left()):
            break
        end(late, grace_s=0)
    return found


def end(processes: Collection[Process], *, grace_s: float) -> None:
    """Ask to stop, wait up to ``grace_s`` seconds, then kill."""
    pinned = [(process, fd) for process in processes if (fd := _pin(process)) is not None]
    try:
        if grace_s > 0:
            _signal(pinned, signal.SIGTERM)
            _wait(pinned, grace_s)
        _signal(pinned, signal.SIGKILL)
        _wait(pinned, KILL_WAIT_S)
    finally:
        for _, fd in pinned:
            os.close(fd)


def await_end(processes: Collection[Process]) -> None:
    """Return when the first of ``processes`` has ended; signal handlers run meanwhile."""
    poll = select.poll()
    pins = [_pin(process) for process in processes]
    try:
        if None in pins:
            return
        for fd in filter(None, pins):
            poll.register(fd, select.POLLIN)
        poll.poll()
    finally:
        for fd in filter(None, pins):
            os.close(fd)


def memory_mb(processes: Collection[Process]) -> float:
    """Their memory together, shared pages counted once (PSS), in MB."""
    return sum(_pss_kb(process.pid) for process in processes) / 1024


def _marks() -> Iterator[tuple[Process, str]]:
    own = dict(_own_marks())
    for pid in own:
        if (process := find(pid)) and (mark := _mark(process, own)):
            yield process, mark


def _own_marks() -> Iterator[tuple[int, str]]:
    """The mark, or nothing, in the environment of each of this user's processes."""
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # gone, or another user's
            continue
        marks = (each.partition(b"=")[2] for each in variables if each.startswith(PREFIX))
        yield int(folder.name), next(marks, b"").decode(errors="ignore")


def _mark(process: Process, own: Mapping[int, str]) -> str:
    """That of ``process`` or of its nearest marked ancestor."""
    ancestor: Process | None = process
    while ancestor:
        if mark := own.get(ancestor.pid):
            return mark
        ancestor = find(ancestor.parent)
    return ""


def _pin(process: Process) -> int | None:
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if is_alive(process):
        return fd
    os.close(fd)
    return None


def _signal(pinned: Collection[tuple[Process, int]], number: signal.Signals) -> None:
    for _, fd in pinned:
        try:
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            continue


def _wait(pinned: Collection[tuple[Process, int]], patience_s: float) -> None:
    waiting = {fd for process, fd in pinned if is_alive(process)}
    poll, deadline = select.poll(), time.monotonic() + patience_s
    for fd in waiting:
        poll.register(fd, select.POLLIN)  # readable once the process has ended
    while waiting and (left_s := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(left_s * 1000):
            poll.unregister(fd)
            waiting.discard(fd)


def _pss_kb(pid: int) -> int:
    try:
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) if found else 0
