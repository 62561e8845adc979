"""`omma cards`: recognise the cards of photographs, look cards up, correct what was answered.

Exit codes: 0 every picture has its answer, and its drawing where one was asked for; 1 some have
not; 2 wrong usage, or no server.
"""

from functools import partial
from pathlib import Path
from typing import Annotated

import orjson
import typer

from omma.cli.asking import SOME_FAILED, Server, Token, Url, read_params
from omma.cli.pictures import SUFFIXES
from omma.cli.runs import CONCURRENCY, Concurrency, Line, Paths, run, write_json
from omma.client.cards import CardCalls
from omma.client.connection import DEFAULT_URL
from omma.wire.cards import (
    CardAnswer,
    CardMatchParams,
    CardRef,
    CorrectionParams,
    RecogniseAnswer,
)

MaxCards = Annotated[int | None, typer.Option(help="Most cards to look for in one picture.")]
MaxAlternatives = Annotated[int, typer.Option(help="Most other cards to name for each.")]
MinScore = Annotated[float | None, typer.Option(help="Claim no card of a lower score, 0 to 1.")]
Crop = Annotated[bool, typer.Option("--crop", help="The picture is one card and little else.")]
Draw = Annotated[
    Path | None,
    typer.Option(
        metavar="OUT",
        help="Also save the picture with its cards drawn: a file, or a folder for many; "
        "exit code 1 where one cannot be.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON line a picture, for programs.")]
Limit = Annotated[int, typer.Option(min=1, max=200, help="Most cards to list.")]
Photo = Annotated[
    Path, typer.Argument(metavar="PHOTO", exists=True, dir_okay=False, help="What was recognised.")
]
CardOption = Annotated[str, typer.Option("--card", metavar="ID", help="The card that it shows.")]
NoCard = Annotated[bool, typer.Option("--none", help="It shows no card of the index.")]
Face = Annotated[int, typer.Option(min=0, help="Which side it shows: 0 for the front.")]
Claimed = Annotated[str, typer.Option(metavar="ID", help="The card that had been answered.")]
ClaimedFace = Annotated[int, typer.Option(min=0, help="Which side of it.")]

app = typer.Typer()


@app.command()
def recognise(  # noqa: PLR0913  Typer reads the options off the signature
    paths: Paths,
    *,
    url: Url = DEFAULT_URL,
    token: Token = "",
    max_cards: MaxCards = None,
    max_alternatives: MaxAlternatives = 5,
    min_score: MinScore = None,
    crop: Crop = False,
    draw: Draw = None,
    as_json: AsJson = False,
    concurrency: Concurrency = CONCURRENCY,
) -> None:
    """Recognise every card of photographs."""
    query = {
        "max_cards": max_cards,
        "max_alternatives": max_alternatives,
        "min_score": min_score,
        "is_crop": crop,
    }
    params = read_params(CardMatchParams, query)
    run(
        paths,
        (Server(url, token), CardCalls),
        lambda client: partial(client.recognise_cards, params=params),
        (concurrency, _target(draw, paths)),
        write_json if as_json else _write,
    )


def _target(draw: Path | None, paths: list[str]) -> Path | None:
    """Where drawings go; a file takes one."""
    if draw is None or not draw.suffix:
        return draw
    if draw.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"--draw: expected a picture or a folder, got {str(draw)!r}")
    if len(paths) > 1 or Path(paths[0]).is_dir():
        raise typer.BadParameter("--draw: expected a folder for more than one picture")
    return draw


@app.command()
def show(
    card_id: Annotated[str, typer.Argument(metavar="ID", help="As it is answered.")],
    *,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Tell what is known of a card."""
    card = Server(url, token).ask(CardCalls, lambda client: client.card(card_id))
    if as_json:
        typer.echo(orjson.dumps(card.model_dump()).decode())
        return
    for name, value in _facts(card).items():
        typer.echo(f"{name:<10} {value}")


@app.command()
def search(
    name: Annotated[str, typer.Argument(help="All of a name or a part of it.")],
    *,
    url: Url = DEFAULT_URL,
    token: Token = "",
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Find cards by name; exit code 1 where none has it."""
    server = Server(url, token)
    cards = server.ask(CardCalls, lambda client: client.search_cards(name, limit=limit)).cards
    for card in cards:
        line = orjson.dumps(card.model_dump()).decode() if as_json else _row(card)
        typer.echo(line)
    if not cards:
        raise typer.Exit(SOME_FAILED)


@app.command()
def correct(  # noqa: PLR0913  Typer reads the options off the signature
    photo: Photo,
    *,
    card: CardOption = "",
    none: NoCard = False,
    face: Face = 0,
    claimed: Claimed = "",
    claimed_face: ClaimedFace = 0,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Say what a photograph shows: the next rebuilds of the index are judged by it."""
    if bool(card) == none:
        raise typer.BadParameter("expected either --card ID or --none")
    said = read_params(
        CorrectionParams,
        {
            "card_id": card,
            "face": face,
            "claimed_card_id": claimed,
            "claimed_face": claimed_face,
        },
    )
    server, image = Server(url, token), photo.read_bytes()
    kept = server.ask(CardCalls, lambda client: client.correct_card(image, said))
    typer.echo(f"kept as {kept.correction_id}")


def _write(line: Line) -> None:
    """What became of one picture, for people."""
    if line.error is not None:
        typer.echo(f"{line.path}: {line.error.code}: {line.error.detail}", err=True)
    elif isinstance(line.result, RecogniseAnswer):
        typer.echo(f"{line.path}: {_counted(len(line.result.cards))}")
        for card in line.result.cards:
            typer.echo(f"  {card.score:.2f}  {card.name}  ({_where(card)})  {card.card_id}")
            if not card.is_printing_certain:
                typer.echo(f"        of one art: {', '.join(map(_where, card.printings))}")


def _counted(cards: int) -> str:
    return "1 card" if cards == 1 else f"{cards} cards"


def _where(card: CardRef | CardAnswer) -> str:
    return f"{card.set.upper()} {card.collector_number}".strip() or card.card_id


def _row(card: CardAnswer) -> str:
    return f"{card.card_id}  {card.name}  ({_where(card)}, {card.set_name})"


def _facts(card: CardAnswer) -> dict[str, str]:
    """What there is, by what it is called."""
    prices = (f"{value} {name}" for name, value in card.prices.items() if value is not None)
    facts = {
        "id": card.card_id,
        "name": card.name,
        "set": f"{_where(card)}, {card.set_name}".strip(", "),
        "layout": card.layout,
        "faces": ", ".join(each.name for each in card.faces),
        "finishes": ", ".join(card.finishes),
        "prices": ", ".join(prices),
        "released": card.released_at,
        **{name: str(value) for name, value in card.extra.items()},
    }
    return {name: value for name, value in facts.items() if value}
