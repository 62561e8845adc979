"""`omma indexes import|export`: bundles of features, on the stores that the settings name.

Exit codes: 0 done; 1 it failed, or the records do not answer; 2 wrong usage or settings.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from omma.cli.configured import configured
from omma.domain.errors import CannotStart, OmmaError
from omma.settings import Settings

FAILED, REFUSED = 1, 2

Index = Annotated[Literal["cards"], typer.Argument(metavar="INDEX", help="Whose features: cards.")]

Config = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="Whose stores. [default: config/local.yaml]"),
]
Home = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="All state lies there. [default: OMMA_HOME, or var]"),
]


def import_bundle(
    index: Index,
    bundle: Annotated[str, typer.Argument(metavar="FILE|URL", help="A zip, a folder, an .h5.")],
    *,
    config: Config = None,
    home: Home = None,
) -> None:
    """Build an index of somebody's features, publish it; a server that runs swaps to it."""
    del index  # there is one that has features
    from omma.cli import transfers  # noqa: PLC0415  other commands do without faiss, h5py, cv2

    _run(transfers.import_into(_configured(config, home), bundle))


def export_bundle(
    index: Index,
    folder: Annotated[Path, typer.Argument(metavar="FILE", help="A .zip, or a new folder.")],
    *,
    config: Config = None,
    home: Home = None,
) -> None:
    """Write the features of all cards, an index of them and its ids as a bundle."""
    del index
    if folder.exists():
        raise typer.BadParameter(f"{str(folder)!r} exists already")
    from omma.cli import transfers  # noqa: PLC0415  as above

    _run(transfers.export_from(_configured(config, home), folder))


def _configured(config: Path | None, home: Path | None) -> Settings:
    try:
        return configured(config, home)
    except CannotStart as error:
        _fail(str(error), REFUSED)


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(work)
    except CannotStart as error:
        _fail(str(error), REFUSED)
    except (OmmaError, OSError) as error:
        _fail(str(error), FAILED)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
