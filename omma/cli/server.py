"""`omma up|down|status|dashboard`: the server on this machine.

Exit codes: 0 done; 1 it cannot start, or does not run; 2 wrong usage.
"""

import json
import os
import select
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

# Ray lives behind this door: the command needs none of it, and starts the faster.
LIFECYCLE = (sys.executable, "-m", "deployments.lifecycle")
HEALTH_TIMEOUT_S = 5.0

Home = Annotated[
    Path | None,
    typer.Option(envvar="OMMA_HOME", file_okay=False, help="All state lies there. [default: var]"),
]
Config = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="What to run. [default: config/local.yaml]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def up(
    *,
    host: Annotated[str | None, typer.Option(help="Where to listen. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="[default: 8000]")] = None,
    config: Config = None,
    home: Home = None,
    reload: Annotated[bool, typer.Option("--reload", help="Deploy again on changes.")] = False,
) -> None:
    """Start the server and stay with it; Ctrl-C, or closing the terminal, stops everything."""
    options = _options(home, config, host=host, port=port)
    flags = ["--reload"] if reload else []
    command = [*LIFECYCLE, "up", *options, *flags, "--parent", str(os.getpid())]
    # In a session of its own, Ctrl-C reaches it through us alone, and once.
    server = subprocess.Popen(command, start_new_session=True)  # noqa: S603  our own module
    code = _follow(server)
    if code < 0:  # it could not clean up after itself
        _lifecycle("down", home, config)
    raise typer.Exit(0 if code in {0, -signal.SIGTERM} else 1)  # stopped before it listened


def down(*, config: Config = None, home: Home = None) -> None:
    """Stop the server, and whatever an earlier one left behind."""
    raise typer.Exit(_lifecycle("down", home, config).returncode)


def status(*, config: Config = None, home: Home = None, as_json: AsJson = False) -> None:
    """Say what runs, where, and how it is; exit code 1 when nothing does."""
    state = _state(home, config)
    if state["is_running"] and state["is_ready"]:
        state["health"] = _health(state["url"])
    if as_json:
        typer.echo(json.dumps(state, indent=2))
    else:
        _show(state)
    raise typer.Exit(0 if state["is_running"] else 1)


def dashboard(*, config: Config = None, home: Home = None) -> None:
    """Print where Ray's dashboard is, and the token that it asks for."""
    state = _state(home, config)
    if not state["is_running"]:
        typer.echo("nothing runs", err=True)
        raise typer.Exit(1)
    typer.echo(f"url    {state['dashboard_url']}")
    typer.echo(f"token  {Path(state['ray']['RAY_AUTH_TOKEN_PATH']).read_text()}")


def _lifecycle(
    verb: str, home: Path | None, config: Path | None, stdout: int | None = None
) -> subprocess.CompletedProcess[str]:
    command = [*LIFECYCLE, verb, *_options(home, config)]
    return subprocess.run(command, check=False, stdout=stdout, text=True)  # noqa: S603  our own


def _options(home: Path | None, config: Path | None, **others: object) -> list[str]:
    chosen: Mapping[str, object] = {"home": home, "config": config, **others}
    return [
        word
        for name, value in chosen.items()
        if value is not None
        for word in (f"--{name}", str(value))
    ]


def _follow(server: subprocess.Popen[bytes]) -> int:
    """Hand every request to stop on to ``server``; answer its exit code."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        del number, frame
        server.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hand_on)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else somebody said `nohup`
        signal.signal(signal.SIGHUP, hand_on)
        threading.Thread(target=_hang_up_with_readers, daemon=True).start()
    return server.wait()


def _hang_up_with_readers() -> None:
    """Take a pipe that nobody reads any more for a terminal that was closed."""
    poll = select.poll()
    for fd in (1, 2):
        with suppress(OSError):  # closed from the start
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                poll.register(fd, 0)  # the end of the last reader is told unasked
    poll.poll()
    os.kill(os.getpid(), signal.SIGHUP)


def _state(home: Path | None, config: Path | None) -> dict[str, Any]:
    answer = _lifecycle("status", home, config, stdout=subprocess.PIPE).stdout
    if not answer:  # it has said why
        raise typer.Exit(1)
    return json.loads(answer)


def _health(url: str) -> dict[str, Any]:
    import httpx  # noqa: PLC0415  help and completion do without it

    try:
        return httpx.get(f"{url}/health", timeout=HEALTH_TIMEOUT_S, trust_env=False).json()
    except (httpx.HTTPError, ValueError) as error:
        return {"status": f"does not answer: {error}", "deployments": {}}


def _show(state: Mapping[str, Any]) -> None:
    health = state.get("health", {})
    table = Table(box=None, pad_edge=False, show_header=False)
    if state["is_running"]:
        table.add_row("state", health.get("status", "starting"))
        table.add_row("API", state["url"])
        table.add_row("dashboard", state["dashboard_url"])
        for name, value in state["ray"].items():
            table.add_row(name, value)
    else:
        table.add_row("state", "not running")
    table.add_row("data", state["home"])
    table.add_row("processes", str(len(state["processes"])))
    table.add_row("memory", f"{state['memory_mb']:.0f} MB")
    for name, condition in health.get("deployments", {}).items():
        table.add_row(name, str(condition))
    Console(soft_wrap=True, highlight=False).print(table)
