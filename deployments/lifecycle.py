"""`python -m deployments.lifecycle up|down|status`: starts, stops and reaps an instance.

The command calls it as a subprocess. It knows nothing of Ray, so that it answers at once;
`up` ends by becoming `deployments.serving`.
"""

import json
import os
import signal
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import ValidationError

from deployments.gate import check_auth, demo_warning
from deployments.instance import (
    Instance,
    lock,
    make_private,
    new_mark,
    of_home,
    read_instance,
    short,
)
from deployments.reaping import MARKER, Process, end, itself, marked, memory_mb, reap
from deployments.signals import stop_signals
from deployments.sizes import DEFAULT, read_home, read_plan
from deployments.speech import mistakes, say
from deployments.surroundings import (
    client_environment,
    free_port,
    prune_sessions,
    refuse_open_ports,
    require_port,
    surroundings,
)
from omma.domain.errors import CannotStart, ModelMissing, OmmaError
from omma.environment import refuse_unsupported, without_meaning
from omma.settings import Settings
from omma.stores.catalogue import Catalogue
from omma.stores.models import ModelFiles

STOP_S = 30.0  # Ray's own end takes two to six on an idle machine
GRACE_S = 3.0
DASHBOARD_PORT = 8265


def up(arguments: Namespace) -> int:
    """Check early whatever can be checked early, then become the process that serves."""
    _end_on_signals()
    os.umask(0o077)  # of all that is made from here on, by Ray too
    refuse_unsupported(os.environ)
    for line in without_meaning(os.environ, Settings.variables()):
        say(f"warning: {line}")
    settings = read_plan(arguments.config, _overrides(arguments)).settings
    home, http = settings.home, settings.http
    refuse_open_ports(http.host, os.environ, settings.auth)
    check_auth(settings.auth)
    if warning := make_private(home):
        say(f"warning: {warning}")
    if not lock(home):
        raise CannotStart(_occupied(home))
    _reap_what_is_left(home)
    require_port(http.host, http.port)
    mark = new_mark(home)
    _fetch_models(settings, mark)
    prune_sessions(home)
    instance = _new_instance(arguments, settings, mark)
    instance.write()
    if warning := demo_warning(settings.auth):
        say(warning)
    program = [sys.executable, "-m", "deployments.serving", str(home)]
    os.execve(sys.executable, program, surroundings(instance, os.environ))  # noqa: S606  no shell


def down(arguments: Namespace) -> int:
    """Stop the instance under this home, and whatever an earlier one left."""
    home = _home(arguments)
    instance = read_instance(home)
    if instance and instance.is_alive:
        end([instance.process], grace_s=STOP_S)  # it stops all others itself
    elif not _others(home):
        say(f"nothing runs under {home}")
        return 0
    left = _reap(home)
    if survivors := _others(home):
        say(f"could not end {', '.join(f'{each.pid} ({each.name})' for each in survivors)}")
        return 1
    if instance:
        instance.forget()
    say(f"stopped; {len(left)} processes had to be reaped" if left else "stopped")
    return 0


def status(arguments: Namespace) -> int:
    """Print, as JSON, what runs under this home; 1 when nothing does."""
    home = _home(arguments)
    instance = read_instance(home)
    processes = _others(home)
    running = instance if instance and instance.is_alive else None
    answer: dict[str, Any] = {
        "is_running": running is not None,
        "home": str(home),
        "processes": [{"pid": each.pid, "name": each.name} for each in processes],
        "memory_mb": round(memory_mb(processes), 1),
    }
    if running:
        answer |= _described(running)
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return 0 if running else 1


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; an error is one line."""
    arguments = _parser().parse_args(words)
    try:
        return arguments.verb(arguments)
    except OmmaError as error:
        say(f"cannot start: {error}" if arguments.verb is up else str(error))
    except ValidationError as error:
        say(f"cannot start: {mistakes(error)}")
    return 1


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m deployments.lifecycle")
    verbs = parser.add_subparsers(required=True)
    for verb in (up, down, status):
        each = verbs.add_parser(verb.__name__, help=verb.__doc__)
        each.set_defaults(verb=verb)
        each.add_argument("--home", type=Path)
        each.add_argument("--config", type=Path, default=DEFAULT)
        if verb is up:
            each.add_argument("--host")
            each.add_argument("--port", type=int)
            each.add_argument("--reload", action="store_true")
            each.add_argument("--parent", type=int, default=0, help="stop when this pid is gone")
    return parser


def _overrides(arguments: Namespace) -> dict[str, Any]:
    http = {"host": arguments.host, "port": arguments.port}
    chosen = {key: value for key, value in http.items() if value is not None}
    return {"http": chosen} | ({"home": arguments.home} if arguments.home else {})


def _home(arguments: Namespace) -> Path:
    if arguments.home:
        return arguments.home.resolve()
    return read_home(arguments.config)


def _callers() -> set[int]:
    """This process and the command: they may have inherited a mark from where they were started."""
    return {os.getpid(), os.getppid()}


def _others(home: Path) -> list[Process]:
    return [each for each in marked(of_home(home)) if each.pid not in _callers()]


def _end_on_signals() -> None:
    """Unwind at the first request to stop, and heed no second; `exec` forgets this."""
    numbers = stop_signals()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(0)

    for number in numbers:
        signal.signal(number, end)


def _occupied(home: Path) -> str:
    other = read_instance(home)
    if other is None or not other.is_alive:
        return f"another `omma up` is just starting under {home}"
    verb = "answers" if other.is_ready else "is starting"
    return f"one {verb} already at {other.url} (pid {other.process.pid}); `omma down` stops it"


def _reap_what_is_left(home: Path) -> None:
    if found := _reap(home):
        say(f"reaped {len(found)} processes that an earlier instance left behind")
    if instance := read_instance(home):
        instance.forget()


def _reap(home: Path) -> list[Process]:
    instance = read_instance(home)
    known = instance.processes if instance else ()
    return reap(of_home(home), grace_s=GRACE_S, spare=_callers(), known=known)


def _fetch_models(settings: Settings, mark: str) -> None:
    """Pull what will be served and is missing; the command says beforehand what that costs."""
    try:
        _require_models(settings)
    except ModelMissing:
        _pull(settings, mark)
        _require_models(settings)


def _pull(settings: Settings, mark: str) -> None:
    """Run the command under ``mark``, so that it and what it has started can be found and ended."""
    files = {"OMMA_HOME": str(settings.home), "OMMA_MODELS_FILE": str(settings.models_file)}
    wanted = [settings.faces.pack, settings.embedding.model]
    command = [sys.executable, "-m", "omma.cli.main", "models", "pull", *wanted]
    environ = os.environ | files | {MARKER: mark}
    with subprocess.Popen(command, env=environ) as process:  # noqa: S603  our own module
        try:
            process.wait()
        finally:
            reap(lambda found: found == mark, grace_s=GRACE_S, spare=_callers())


def _require_models(settings: Settings) -> None:
    """Raise `ModelFault` while a model that will be served is not there, and whole."""
    catalogue = Catalogue.read(settings.models_file)
    pack = catalogue.pack(settings.faces.pack)
    files = ModelFiles(settings.models_dir)
    if absent := set(settings.faces.embedders) - set(pack.recognisers):
        slots = ", ".join(sorted(absent))
        raise CannotStart(f"pack {pack.name!r} has no model for the embedders {slots}")
    files.path(pack.detector)
    for slot in settings.faces.embedders:
        files.path(pack.recognisers[slot])
    files.path(catalogue.model(settings.embedding.model))


def _new_instance(arguments: Namespace, settings: Settings, mark: str) -> Instance:
    return Instance(
        home=str(settings.home),
        mark=mark,
        process=itself(),
        config=str(arguments.config.resolve()),
        host=settings.http.host,
        port=settings.http.port,
        parent=arguments.parent,
        reload=arguments.reload,
        short_home=short(settings.home),
        dashboard_port=free_port(DASHBOARD_PORT),
    )


def _described(instance: Instance) -> dict[str, Any]:
    return {
        "is_ready": instance.is_ready,
        "url": instance.url,
        "dashboard_url": instance.dashboard_url,
        "pid": instance.process.pid,
        "ray": {
            "RAY_ADDRESS": instance.ray_address,
            **client_environment(Path(instance.home)),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
