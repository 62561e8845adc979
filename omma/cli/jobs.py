"""`omma jobs`: ask for durable jobs, watch them, and put them in order.

Exit codes: 0 done; 1 some jobs failed or were refused; 2 wrong usage, or no server.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from omma.cli.asking import SOME_FAILED, Server, Token, Url, read_params
from omma.cli.paths import shown
from omma.cli.pictures import find_pictures
from omma.cli.submitting import Wish, submit_all
from omma.cli.watching import JobBars, watch_all, watch_jobs
from omma.client.connection import DEFAULT_URL
from omma.client.errors import RequestRefused
from omma.client.jobs import JobCalls
from omma.wire.jobs import CleanupRequest, JobAnswer, JobListParams, JobRequest, JobSummary

WEB = ("http://", "https://")
ID_WIDTH = 36  # never cut: other commands want ids

Ids = Annotated[list[str], typer.Argument(metavar="JOB_ID...", help="As `list` shows them.")]
SomeIds = Annotated[list[str] | None, typer.Argument(metavar="[JOB_ID]...", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")]
Operation = Annotated[str, typer.Option("--operation", "-o", help="What to do with each image.")]
Priority = Annotated[int, typer.Option(min=0, max=10, help="10 goes first.")]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="Of the operation."),
]

app = typer.Typer()


@app.command()
def submit(  # noqa: PLR0913  Typer reads the options off the signature
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE]...", help="Files, folders, globs or URLs."),
    ] = None,
    *,
    operation: Operation = "face_detection",
    media_id: Annotated[
        list[str] | None, typer.Option(help="Of an image in the media store; repeat for more.")
    ] = None,
    priority: Priority = 5,
    param: Params = None,
    callback_url: Annotated[str | None, typer.Option(help="Told when a job has ended.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch until all have ended.")] = False,
    json: Json = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Ask for one job an image; one line a job."""
    common = {
        "priority": priority,
        "callback_url": callback_url,
        "params": dict(_pair(each) for each in param or []),
    }
    wishes = _wishes(images or [], media_id or [], common)
    if not wishes:
        raise typer.BadParameter("expected images or --media-id")

    async def work(client: JobCalls) -> bool:
        jobs, is_whole = await submit_all(client, operation, wishes, as_json=json and not wait)
        if not wait:
            return is_whole
        with JobBars(as_json=False) as bars:
            ended = await watch_jobs(client, [job.job_id for job in jobs], bars)
        _show_results(ended, as_json=json)
        return is_whole and all(job.status == "completed" for job in ended)

    _end(Server(url, token).ask(JobCalls, work))


@app.command(name="list")
def list_jobs(  # noqa: PLR0913
    *,
    status: Annotated[str, typer.Option(help="pending, error, …; separated by commas.")] = "",
    operation: Annotated[str, typer.Option("--operation", "-o")] = "",
    batch: Annotated[str, typer.Option(help="The id of a batch.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most jobs shown.")] = 50,
    json: Json = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """List your jobs, newest first."""
    query = {"status": status, "task_type": operation, "batch": batch, "limit": min(limit, 200)}
    wanted = read_params(JobListParams, query)

    async def work(client: JobCalls) -> list[JobSummary]:
        found, cursor = list[JobSummary](), ""
        while len(found) < limit:
            page = await client.jobs(wanted.model_copy(update={"cursor": cursor}))
            found += page.jobs
            cursor = page.next_cursor or ""
            if not cursor:
                break
        return found[:limit]

    jobs = Server(url, token).ask(JobCalls, work)
    if json:
        _write_lines(jobs)
    else:
        _show_table(jobs)


@app.command()
def show(job_ids: Ids, *, json: Json = False, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Show jobs with their results."""

    async def work(client: JobCalls) -> list[JobAnswer]:
        return [await client.job(job_id) for job_id in job_ids]

    _show_results(Server(url, token).ask(JobCalls, work), as_json=json)


@app.command()
def watch(
    job_ids: SomeIds = None, *, json: Json = False, url: Url = DEFAULT_URL, token: Token = ""
) -> None:
    """Watch jobs to their end; without ids, all of yours until Ctrl-C."""

    async def work(client: JobCalls) -> bool:
        with JobBars(as_json=json) as bars:
            if not job_ids:
                await watch_all(client, bars)
                return True
            ended = await watch_jobs(client, job_ids, bars)
        return all(job.status == "completed" for job in ended)

    with suppress(KeyboardInterrupt):  # enough was seen; the jobs go on
        _end(Server(url, token).ask(JobCalls, work))


@app.command()
def cancel(job_ids: Ids, *, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """End jobs that wait or run."""
    _each(job_ids, Server(url, token), lambda client: client.cancel, "cancelled")


@app.command()
def retry(job_ids: Ids, *, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Let jobs that failed or were cancelled wait again."""
    _each(job_ids, Server(url, token), lambda client: client.retry, "waits again")


@app.command()
def clean(  # noqa: PLR0913
    job_ids: SomeIds = None,
    *,
    status: Annotated[
        str | None, typer.Option(help="Of this state, or all. [default: all that have ended]")
    ] = None,
    older_than: Annotated[float | None, typer.Option(min=0, metavar="SECONDS")] = None,
    orphans: Annotated[bool, typer.Option("--orphans", help="Also files of no job.")] = False,
    json: Json = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Remove these jobs with their files; without ids, everybody's, for administrators."""
    server = Server(url, token)
    if job_ids:
        _each(job_ids, server, lambda client: client.delete, "removed")
        return
    query = {"status": status, "older_than_seconds": older_than, "remove_orphaned_files": orphans}
    wanted = read_params(CleanupRequest, query)
    gone = server.ask(JobCalls, lambda client: client.cleanup(wanted))
    if json:
        typer.echo(gone.model_dump_json())
    else:
        typer.echo(
            f"removed {gone.jobs_deleted} jobs, {gone.files_deleted} files,"
            f" {gone.queue_entries_removed} places in the queue"
        )


def _pair(text: str) -> tuple[str, object]:
    name, sign, value = text.partition("=")
    if not sign:
        raise typer.BadParameter(f"--param: expected NAME=VALUE, got {text!r}")
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value


def _wishes(
    images: Sequence[str], media_ids: Sequence[str], common: Mapping[str, object]
) -> list[Wish]:
    try:
        pictures = find_pictures(each for each in images if not each.startswith(WEB))
    except FileNotFoundError as error:
        raise typer.BadParameter(f"no picture at {error.args[0]!r}") from None
    urls = [each for each in images if each.startswith(WEB)]
    return [
        *(Wish(shown(each.path), read_params(JobRequest, common), each) for each in pictures),
        *(Wish(each, read_params(JobRequest, {**common, "url": each})) for each in urls),
        *(
            Wish(each, read_params(JobRequest, {**common, "media_store_id": each}))
            for each in media_ids
        ),
    ]


def _each(
    job_ids: Sequence[str],
    server: Server,
    change_of: Callable[[JobCalls], Callable[[str], Awaitable[object]]],
    done: str,
) -> None:
    async def work(client: JobCalls) -> bool:
        is_whole = True
        for job_id in job_ids:
            try:
                await change_of(client)(job_id)
                typer.echo(f"{job_id}  {done}")
            except RequestRefused as error:
                is_whole = False
                typer.echo(f"{job_id}  {error}", err=True)
        return is_whole

    _end(server.ask(JobCalls, work))


def _end(is_whole: bool) -> None:  # noqa: FBT001  what the command has to say
    raise typer.Exit(0 if is_whole else SOME_FAILED)


def _write_lines(answers: Sequence[BaseModel]) -> None:
    for answer in answers:
        typer.echo(answer.model_dump_json())


def _show_results(jobs: Sequence[JobAnswer], *, as_json: bool) -> None:
    if as_json:
        _write_lines(jobs)
        return
    console = Console(soft_wrap=True, highlight=False)
    for job in jobs:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, value in job.model_dump(exclude={"result"}, exclude_none=True).items():
            table.add_row(name, _at(value) if name.endswith("_at") else str(value))
        console.print(table)
        if job.result is not None:
            console.print_json(data=job.result)


def _show_table(jobs: Sequence[JobSummary]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("job", min_width=ID_WIDTH)
    for name in ("operation", "status", "priority", "created", "media", "error"):
        table.add_column(name)
    for job in jobs:
        table.add_row(
            job.job_id,
            job.task_type,
            job.status,
            str(job.priority),
            _at(job.created_at),
            job.media_store_id or "",
            job.error_message or "",
        )
    Console(soft_wrap=True, highlight=False).print(table)


def _at(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
