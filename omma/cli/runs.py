"""Many pictures sent at once, one line written for each as its answer comes."""

import asyncio
import sys
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import orjson
import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from omma.cli.asking import SOME_FAILED, Calls, Server
from omma.cli.paths import shown
from omma.cli.pictures import Picture, find_pictures
from omma.client.errors import AnswerTimeout, RequestRefused
from omma.wire.cards import RecogniseAnswer
from omma.wire.faces import DetectAnswer, EmbedAnswer
from omma.wire.problems import Problem

CONCURRENCY = 16  # keeps batches full: more than the server's largest, answered and under way

Ask = Callable[[bytes], Awaitable[BaseModel]]
Paths = Annotated[
    list[str], typer.Argument(metavar="PATH...", help="Files, folders (with all below) or globs.")
]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Pictures under way at once.")]


class Failure(BaseModel):
    """What went wrong on this side of the wire."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one picture, as written; exactly one of ``result`` and ``error``."""

    path: str
    result: BaseModel | None = None
    error: Problem | Failure | None = None
    undrawn: str = ""  # why the answer has no drawing, where one was asked for


def write_json(line: Line) -> None:
    """One JSON line on standard output."""
    outcome = {"result": line.result} if line.result else {"error": line.error}
    values = {key: value.model_dump(exclude_none=True) for key, value in outcome.items() if value}
    sys.stdout.buffer.write(orjson.dumps({"path": line.path, **values}) + b"\n")
    sys.stdout.buffer.flush()


def run(
    paths: Sequence[str],
    server: tuple[Server, type[Calls]],
    ask_of: Callable[[Calls], Ask],
    how: tuple[int, Path | None],
    write: Callable[[Line], None] = write_json,
) -> None:
    """Ask about every picture, and end the command with the exit code that says how it went."""
    try:
        pictures = find_pictures(paths)
    except FileNotFoundError as error:
        raise typer.BadParameter(f"no picture at {error.args[0]!r}") from None
    at, calls = server
    failed = at.ask(calls, lambda client: Run(ask_of(client), *how, write).over(pictures))
    raise typer.Exit(SOME_FAILED if failed else 0)


@dataclass(frozen=True, slots=True)
class Run:
    """What is done with each picture."""

    ask: Ask
    concurrency: int
    draw_to: Path | None = None
    write: Callable[[Line], None] = write_json

    async def over(self, pictures: Sequence[Picture]) -> int:
        """Write what became of each picture as it is answered; the number that failed."""
        failed, todo = 0, iter(pictures)
        running: set[asyncio.Task[Line]] = set()
        done: set[asyncio.Task[Line]] = set()
        with _progress() as bar:
            task = bar.add_task("pictures", total=len(pictures))
            try:
                while running := running | self._begin(todo, len(running)):
                    done, running = await asyncio.wait(running, return_when=FIRST_COMPLETED)
                    for line in [each.result() for each in done]:
                        failed += line.error is not None or bool(line.undrawn)
                        self.write(line)
                        if line.undrawn:
                            sys.stderr.write(f"{line.path}: not drawn: {line.undrawn}\n")
                        bar.advance(task)
            finally:
                await _cancel(running | done)  # several may have found no server at once
        return failed

    def _begin(self, todo: Iterator[Picture], running: int) -> set[asyncio.Task[Line]]:
        """Keep as many under way as the concurrency says."""
        free = self.concurrency - running
        return {asyncio.create_task(self._line(picture)) for picture in islice(todo, free)}

    async def _line(self, picture: Picture) -> Line:
        path = shown(picture.path)
        try:
            data = await asyncio.to_thread(picture.read)
            answer = await self.ask(data)
        except RequestRefused as error:
            return Line(path, error=error.problem)
        except AnswerTimeout as error:
            return Line(path, error=Failure(code="timeout", detail=str(error)))
        except OSError as error:
            return Line(path, error=Failure(code="file_error", detail=str(error)))
        undrawn = ""
        if self.draw_to:
            undrawn = await asyncio.to_thread(_undrawn, data, answer, self.draw_to, picture.name)
        return Line(path, result=answer, undrawn=undrawn)


def _undrawn(data: bytes, answer: BaseModel, folder: Path, name: Path) -> str:
    """Why a drawing could not be made; empty where it was."""
    try:
        _draw(data, answer, folder, name)
    except Exception as error:  # noqa: BLE001 - whatever it is, the answer is printed
        return next(iter(str(error).splitlines()), "") or type(error).__name__
    return ""


def _draw(data: bytes, answer: BaseModel, folder: Path, name: Path) -> None:
    from omma.cli import drawing  # noqa: PLC0415  other commands do without cv2

    match answer:
        case DetectAnswer() | EmbedAnswer():
            drawing.save_beside(drawing.draw_faces(data, answer.faces), folder, name)
        case RecogniseAnswer() if folder.suffix:
            drawing.save_as(drawing.draw_cards(data, answer.cards), folder)
        case RecogniseAnswer():
            drawing.save_beside(drawing.draw_cards(data, answer.cards), folder, name)
        case _:
            pass


async def _cancel(tasks: set[asyncio.Task[Line]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _progress() -> Progress:
    """On standard error, so that the lines may be piped; and only where somebody looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    return Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
