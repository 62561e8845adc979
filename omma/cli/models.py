"""`omma models`: which models there are, and bringing them here."""

import json
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from omma.cli.configured import of_environment
from omma.cli.pull_bars import PullBars
from omma.domain.errors import CannotStart, LicenceNotAccepted, ModelFault, ModelNotFound
from omma.domain.models import PullStep
from omma.engines.conversion.runner import SubprocessConverter
from omma.services.models import ModelService, Plan
from omma.stores.catalogue import Catalogue
from omma.stores.models import ModelFiles
from omma.stores.sources.files import FileSource, HttpsSource
from omma.stores.sources.packages import InsightFaceSource, NpmSource, PypiSource

FAULT, UNKNOWN, REFUSED = 1, 2, 3

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PACK|MODEL]...", help="Default: what the settings serve."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]

app = typer.Typer()


@app.command("list")
def show(*, as_json: AsJson = False) -> None:
    """List every model of the catalogue: slot, licence, size, and how far it is from serving."""
    with _exit_codes():
        service, _ = _open()
        steps = service.plan([]).steps
        if as_json:
            _print_json([_described(step) for step in steps])
        else:
            Console().print(_table(steps))
            packs = ", ".join(service.catalogue.packs)
            Console(stderr=True).print(f"packs: {packs}", highlight=False)


@app.command()
def pull(
    names: Names = None,
    *,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Agree to the licences that ask for it.")
    ] = False,
) -> None:
    """Download, check and convert models; what is here already is left alone."""
    with _exit_codes():
        service, served = _open()
        wanted = names or served
        todo = service.plan(wanted)
        err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        if todo.is_done:
            err.print(f"models of {', '.join(wanted)} are here: nothing to do")
            return
        err.print(_announcement(todo))
        for licence in todo.licences:
            err.print(f"\n{licence.name}:\n{licence.text}\n")
        accepted = accept_licence or _agrees(todo)
        with _unwound_on_sigterm(), PullBars(err) as bars:
            service.pull(wanted, bars, accepted=accepted)
        Console().print(_table(service.plan(wanted).steps))


@app.command()
def verify(names: Names = None, *, as_json: AsJson = False) -> None:
    """Hash every file again and compare; exit code 1 when one is missing or differs."""
    with _exit_codes():
        service, served = _open()
        faults = service.verify(names or served)
        if as_json:
            _print_json([{"name": n, "fault": f and str(f)} for n, f in faults.items()])
        else:
            for name, fault in faults.items():
                typer.echo(f"{name}: {fault or 'whole'}")
        if any(faults.values()):
            raise typer.Exit(FAULT)


@app.command()
def profile(
    name: Annotated[str, typer.Argument(metavar="MODEL")],
    *,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Images or faces at once.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the inference.")] = 1,
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Inferences to average.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Tell where a model's time goes on this CPU, by operator; what serves goes on meanwhile."""
    from omma.engines import profile as profiles  # noqa: PLC0415  NumPy: a pull does without

    with _exit_codes():
        settings = of_environment()
        model = Catalogue.read(settings.models_file).model(name)
        file = ModelFiles(settings.models_dir).path(model)
        times = profiles.profile(file, batch=batch, threads=threads, runs=runs)
        rows = [asdict(time) for time in times]
        if as_json:
            _print_json(rows)
        else:
            Console().print(_profile_table(rows))


def _open() -> tuple[ModelService, list[str]]:
    """The use cases, and the names of what the settings serve."""
    settings = of_environment()
    sources = {
        "pypi": PypiSource(),
        "npm": NpmSource(),
        "https": HttpsSource(),
        "file": FileSource(),
        "insightface": InsightFaceSource(),
    }
    catalogue = Catalogue.read(settings.models_file)
    files = ModelFiles(settings.models_dir)
    served = [settings.faces.pack, settings.embedding.model]
    return ModelService(catalogue, files, sources, SubprocessConverter()), served


@contextmanager
def _exit_codes() -> Generator[None]:
    try:
        yield
    except LicenceNotAccepted as error:
        _fail(f"not pulled: {error}: pass --accept-licence to agree", REFUSED)
    except ModelFault as error:
        _fail(str(error), FAULT)
    except (ModelNotFound, CannotStart) as error:
        _fail(str(error), UNKNOWN)
    except OSError as error:
        _fail(f"{error.filename or 'files'}: {error.strerror}", FAULT)


@contextmanager
def _unwound_on_sigterm() -> Generator[None]:
    """Let SIGTERM end the clients that download, which run in sessions of their own."""

    def unwind(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)  # as a shell says it

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def _announcement(todo: Plan) -> str:
    """Say what the pull will cost, before anything is fetched."""
    waiting = [step for step in todo.steps if not step.is_done]
    lines = [
        f"  {step.model.name}: {_mb(step.download_bytes)} from {step.model.source.archive}, "
        f"{_mb(step.disk_bytes)} on disk"
        for step in waiting
    ]
    total = f"to download: {_mb(todo.download_bytes)}; disk: {_mb(todo.disk_bytes)}"
    return "\n".join([total, *lines])


def _agrees(todo: Plan) -> bool:
    """Ask for consent to the licences that want it, where somebody can answer."""
    if not todo.licences or not has_terminal():
        return False
    return typer.confirm("Do you agree?", default=False, err=True)


def has_terminal() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty()


def _table(steps: tuple[PullStep, ...]) -> Table:
    table = Table("model", "slot", "state", "size", "licence", box=None, pad_edge=False)
    for step in steps:
        model = step.model
        size = _mb(model.size_bytes)
        table.add_row(model.name, model.slot, step.state, size, model.licence.name)
    return table


def _profile_table(rows: list[dict[str, Any]]) -> Table:
    table = Table("operator", box=None, pad_edge=False)
    for heading in ("nodes", "ms", "share"):
        table.add_column(heading, justify="right")
    sums = {key: sum(row[key] for row in rows) for key in ("nodes", "time_ms", "share")}
    every: list[dict[str, Any]] = [*rows, {"operator": "all", **sums}]
    for row in every:
        shown = (f"{row['time_ms']:.2f}", f"{row['share']:.1%}")
        table.add_row(row["operator"], str(row["nodes"]), *shown)
    return table


def _described(step: PullStep) -> dict[str, str | int | bool]:
    model = step.model
    return {
        "name": model.name,
        "slot": model.slot,
        "state": step.state,
        "is_ready": step.is_done,
        "size_bytes": model.size_bytes,
        "download_bytes": model.download_bytes,
        "sha256": model.sha256,
        "licence": model.licence.name,
        "source": str(model.source),
        "input": model.input,
    }


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
