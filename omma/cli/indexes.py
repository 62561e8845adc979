"""`omma indexes`: see what is served, rebuild it, and say what is to be served.

Exit codes: 0 done; 1 a rebuild failed or was refused; 2 wrong usage, no server, or a refusal.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from omma.cli.asking import SOME_FAILED, Server, Token, Url, read_params
from omma.cli.bundles import export_bundle, import_bundle
from omma.cli.watching import JobBars, watch_jobs
from omma.cli.wording import plan_in_words, result_in_words, size_in_words
from omma.client.connection import DEFAULT_URL
from omma.client.indexes import IndexCalls
from omma.client.jobs import JobCalls
from omma.wire.indexes import (
    IndexAnswer,
    IndexSummary,
    PlanResult,
    PublishedAnswer,
    PublishRequest,
    RebuildRequest,
    RebuildResult,
    RollbackRequest,
    SnapshotAnswer,
)
from omma.wire.jobs import JobAnswer

Index = Annotated[str, typer.Argument(metavar="INDEX", help="As `list` names them: cards.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
Seen = Annotated[
    int | None,
    typer.Option(min=0, metavar="SEQUENCE", help="Change nothing where another is published."),
]

app = typer.Typer()
app.command(name="import")(import_bundle)
app.command(name="export")(export_bundle)


class Calls(IndexCalls, JobCalls):
    """Rebuilds are jobs."""


@app.command(name="list")
def list_indexes(*, json: Json = False, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """List the indexes, and what is published of each."""
    answer = Server(url, token).ask(Calls, lambda client: client.indexes())
    if json:
        typer.echo(answer.model_dump_json())
    else:
        _show_indexes(answer.indexes)


@app.command()
def show(
    index: Index,
    version: Annotated[str, typer.Argument(help="A snapshot. [default: all]")] = "",
    *,
    json: Json = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Show an index with its snapshots, or one snapshot with its report."""

    async def work(client: Calls) -> IndexAnswer | SnapshotAnswer:
        if version:
            return await client.snapshot(index, version)
        return await client.index(index)

    answer = Server(url, token).ask(Calls, work)
    if json:
        typer.echo(answer.model_dump_json())
        return
    match answer:
        case SnapshotAnswer():
            _show_snapshot(answer)
        case IndexAnswer():
            _show_history(answer)


@app.command()
def rebuild(  # noqa: PLR0913  Typer reads the options off the signature
    index: Index,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and what it costs.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Even where nothing has changed.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Watch until it has ended.")] = False,
    json: Json = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Rebuild an index by a job; while one waits or runs, it is that one."""
    wanted = RebuildRequest(force=force, dry_run=dry_run)

    async def work(client: Calls) -> JobAnswer:
        job = await client.rebuild(index, wanted)
        if not (wait or dry_run):
            return job
        with JobBars(as_json=False) as bars:
            [ended] = await watch_jobs(client, [job.job_id], bars) or [job]
        return ended

    job = Server(url, token).ask(Calls, work)
    if json:
        typer.echo(job.model_dump_json())
    elif wait or dry_run:
        typer.echo(_outcome(job), err=job.status != "completed")
    else:
        typer.echo(f"{job.job_id}  {job.status}")
    is_well = job.status == "completed" if wait or dry_run else True
    raise typer.Exit(0 if is_well and not _is_refused(job) else SOME_FAILED)


@app.command()
def publish(  # noqa: PLR0913
    index: Index,
    version: Annotated[str, typer.Argument(help="As `show` lists them.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Even one that the gate refused.")] = False,
    expected: Seen = None,
    json: Json = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Let a snapshot be served; replicas swap to it within seconds, without a pause."""
    said = {"version": version, "force": force, "expected_sequence": expected}
    wanted = read_params(PublishRequest, said)
    published = Server(url, token).ask(Calls, lambda client: client.publish(index, wanted))
    _say(published, as_json=json)


@app.command()
def rollback(
    index: Index,
    *,
    expected: Seen = None,
    json: Json = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Let the snapshot be served that was published before this one."""
    wanted = RollbackRequest(expected_sequence=expected)
    published = Server(url, token).ask(Calls, lambda client: client.rollback(index, wanted))
    _say(published, as_json=json)


def _say(published: PublishedAnswer, *, as_json: bool) -> None:
    if as_json:
        typer.echo(published.model_dump_json())
    else:
        typer.echo(f"{published.index} is at {published.version}, publication {published.sequence}")


def _outcome(job: JobAnswer) -> str:
    """What came of a rebuild, in words."""
    if job.status != "completed" or job.result is None:
        return f"{job.job_id}  {job.status}: {job.error_message or 'it came to nothing'}"
    if "new_images" in job.result:
        return plan_in_words(PlanResult.model_validate(job.result))
    return result_in_words(RebuildResult.model_validate(job.result))


def _is_refused(job: JobAnswer) -> bool:
    return bool(job.result and job.result.get("verdict") and not job.result["is_published"])


def _show_indexes(indexes: Sequence[IndexSummary]) -> None:
    table = _table("index", "published", "publication", "snapshots")
    for each in indexes:
        table.add_row(each.name, each.version or "-", str(each.sequence), str(each.snapshots))
    _print(table)


def _show_history(answer: IndexAnswer) -> None:
    table = _table("version", "state", "items", "vectors", "size", "created", "replicas")
    for each in answer.history:
        table.add_row(
            each.version,
            each.state,
            str(each.items),
            str(each.vectors),
            size_in_words(each.size_bytes),
            _at(each.created_at),
            str(each.replicas or ""),
        )
    _print(table)
    for each in answer.served_by:
        typer.echo(f"{each.replica} serves {each.version}")


def _show_snapshot(answer: SnapshotAnswer) -> None:
    _show_fields(answer, {"report", "served_by"})
    for each in answer.served_by:
        typer.echo(f"{each.replica} serves it since {_at(each.seen_at)} or before")
    Console(soft_wrap=True, highlight=False).print_json(data=answer.report)


def _show_fields(answer: BaseModel, but: set[str]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in answer.model_dump(exclude=but, exclude_none=True).items():
        table.add_row(name, _at(value) if isinstance(value, datetime) else str(value))
    _print(table)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _print(table: Table) -> None:
    Console(soft_wrap=True, highlight=False).print(table)


def _at(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
