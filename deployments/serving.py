"""The process that keeps an instance up: Ray, Serve and the graph, from start to the last pid.

`deployments.lifecycle` prepares the environment and then becomes this program, because Ray and
Serve read their environment when they are imported.
"""

import ctypes
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from types import FrameType

import ray
from ray import serve
from watchfiles import PythonFilter, watch

from deployments.instance import Instance, read_instance
from deployments.reaping import await_end, marked, memory_mb, reap
from deployments.signals import stop_signals
from deployments.sizes import ROOT
from deployments.speech import ready_message, say
from omma.domain.errors import CannotStart

OBJECT_STORE_BYTES = 200 * 1024**2  # images travel by value; what little is shared lies here
DRAIN_S = 15.0  # for requests and jobs that run: longer than any replica of one host takes
GRACE_S = 3.0
VITAL = {"raylet", "gcs_server"}
WATCHED = ("omma", "deployments", "config", "graph.py")
PR_SET_PDEATHSIG = 1


def main(home: Path) -> int:
    """Serve until told to stop; leave no process behind, whatever happens."""
    instance = read_instance(home)
    if instance is None:
        raise CannotStart(f"nothing is prepared in {str(home)!r}: call `omma up`")
    has_died = False
    try:
        _on_signals(partial(_give_up, instance))
        _follow(instance.parent)
        instance = _start(instance)
        _on_signals(_exit)
        has_died = _stay(instance)
    except CannotStart as error:
        say(f"cannot start: {error}")
        return 1
    finally:
        _on_signals(signal.SIG_IGN)
        _stop(instance, drain=instance.is_ready and not has_died)
    return 1


def _give_up(instance: Instance, number: int, frame: FrameType | None) -> None:
    """Stop amid the start, from where it stands: Ray may not survive an exception there."""
    del number, frame
    _on_signals(signal.SIG_IGN)
    _stop(instance, drain=False)
    os._exit(0)


def _exit(number: int, frame: FrameType | None) -> None:
    del number, frame
    _on_signals(signal.SIG_IGN)
    raise SystemExit(0)


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in stop_signals():
        signal.signal(number, handler)


def _follow(parent: int) -> None:
    """Stop when ``parent`` is gone, however it went."""
    if not parent:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went before we asked
        raise SystemExit(0)


def _start(instance: Instance) -> Instance:
    begun = time.monotonic()
    deployer = _deployer(instance)  # it imports while Ray starts
    say("starting Ray")
    ray.init(
        address="local",
        _temp_dir=f"{instance.short_home}/ray",
        dashboard_port=instance.dashboard_port,
        object_store_memory=OBJECT_STORE_BYTES,
        logging_level=logging.ERROR,
        log_to_driver=False,  # what workers print lies in the session's folder
    )
    _on_signals(partial(_give_up, instance))  # Ray has taken SIGTERM
    address = ray.get_runtime_context().gcs_address
    instance.but(processes=tuple(marked(instance.owns))).write()  # should we be killed meanwhile
    awaited = _deploy(deployer, address)
    processes = tuple(marked(instance.owns))
    instance = instance.but(ray_address=address, is_ready=True, processes=processes)
    instance.write()
    say(ready_message(instance, time.monotonic() - begun, memory_mb(processes), awaited))
    return instance


def _deployer(instance: Instance) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deployments.deploying", instance.home]
    return subprocess.Popen(  # noqa: S603  our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _deploy(deployer: subprocess.Popen[str], address: str) -> str:
    """Let it deploy; what the index of cards waits for. `CannotStart` says why it did not."""
    told, _ = deployer.communicate(f"{address}\n")
    if deployer.returncode:
        raise CannotStart(told or "the graph was not deployed; what stands above says why")
    return told


def _stay(instance: Instance) -> bool:
    """Wait for a signal, which raises; or until Ray has died of itself."""
    vital = [each for each in instance.processes if each.name in VITAL]
    if instance.reload:
        threading.Thread(target=_reload_on_change, args=(instance,), daemon=True).start()
    await_end(vital)
    say(f"Ray has died; its last words are under {instance.home}/ray")
    return True


def _reload_on_change(instance: Instance) -> None:
    say(f"reloads when {', '.join(WATCHED)} change")
    paths = [ROOT / name for name in WATCHED]
    for _ in watch(*paths, watch_filter=PythonFilter(extra_extensions=(".yaml",))):
        say("changed: deploying again")
        try:
            _deploy(_deployer(instance), instance.ray_address)
        except CannotStart as error:
            say(f"kept what ran before: {error}")
        else:
            say("reloaded")


def _stop(instance: Instance, *, drain: bool) -> None:
    say("stopping")
    with redirect_stderr(io.StringIO()):  # Ray is surprised by every end
        if drain:
            _in_time(serve.shutdown, DRAIN_S)
        _in_time(ray.shutdown, GRACE_S)  # who is connected when the raylet dies, dies with it
    recorded = read_instance(Path(instance.home)) or instance
    reap(instance.owns, grace_s=GRACE_S, spare={os.getpid()}, known=recorded.processes)
    instance.forget()
    say("stopped")


def _in_time(call: Callable[[], object], patience_s: float) -> None:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(patience_s)


if __name__ == "__main__":
    code = 1
    try:
        code = main(Path(sys.argv[1]))
    except SystemExit:  # a signal
        code = 0
    except BaseException:  # noqa: BLE001  said here, for nobody else will
        say(traceback.format_exc())
    os._exit(code)  # Serve's and Ray's threads have nothing left to wait for
