"""`omma faces`: find and embed the faces of pictures through a running server.

Exit codes: 0 every picture has its answer, and its drawing where one was asked for; 1 some have
not; 2 wrong usage, or no server.
"""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from omma.cli.asking import Server, Token, Url, read_params
from omma.cli.runs import CONCURRENCY, Concurrency, Paths, run
from omma.client.connection import DEFAULT_URL
from omma.client.images import ImageCalls
from omma.wire.faces import DetectParams, EmbedParams

Draw = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        file_okay=False,
        help="Also save each picture with its faces drawn; exit code 1 where one cannot be.",
    ),
]
MinScore = Annotated[float | None, typer.Option(help="Drop faces less sure than this, 0 to 1.")]
MaxFaces = Annotated[int | None, typer.Option(help="Answer only so many, the surest first.")]
DetSize = Annotated[
    str | None, typer.Option(help="320, 640, 1280 or auto; larger finds smaller faces.")
]
Crops = Annotated[bool, typer.Option("--crops", help="Also a JPEG of every face, in base64.")]
Models = Annotated[str, typer.Option(help="Recognisers, separated by commas.")]
Encoding = Annotated[str, typer.Option(help="float or base64.")]

app = typer.Typer()


@app.command()
def detect(  # noqa: PLR0913  Typer reads the options off the signature
    paths: Paths,
    *,
    url: Url = DEFAULT_URL,
    token: Token = "",
    min_score: MinScore = None,
    max_faces: MaxFaces = None,
    det_size: DetSize = None,
    crops: Crops = False,
    draw: Draw = None,
    concurrency: Concurrency = CONCURRENCY,
) -> None:
    """Find faces; one JSON line a picture."""
    query = {"min_score": min_score, "max_faces": max_faces, "det_size": det_size, "crops": crops}
    params = read_params(DetectParams, query)
    server = Server(url, token), ImageCalls
    run(paths, server, lambda c: partial(c.detect, params=params), (concurrency, draw))


@app.command()
def embed(  # noqa: PLR0913
    paths: Paths,
    *,
    url: Url = DEFAULT_URL,
    token: Token = "",
    min_score: MinScore = None,
    max_faces: MaxFaces = None,
    det_size: DetSize = None,
    crops: Crops = False,
    models: Models = "",
    encoding: Encoding = "float",
    draw: Draw = None,
    concurrency: Concurrency = CONCURRENCY,
) -> None:
    """Find faces and embed them; one JSON line a picture."""
    query = {"min_score": min_score, "max_faces": max_faces, "det_size": det_size, "crops": crops}
    params = read_params(EmbedParams, {**query, "models": models, "encoding": encoding})
    server = Server(url, token), ImageCalls
    run(paths, server, lambda c: partial(c.embed, params=params), (concurrency, draw))
