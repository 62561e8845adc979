"""`omma cards` against a real server on this machine, with made-up cards."""

import io
import json
import os
import threading

import pytest
import uvicorn
from PIL import Image
from typer.testing import CliRunner

from omma.cli.cards import app
from omma.cli.drawing import draw_cards
from omma.client import Client
from omma.wire.cards import CardMatchParams, CorrectionParams, RecognisedCard
from tests.card_fakes import (
    BLUE,
    BOLT,
    ELF,
    GREEN,
    MOON,
    RED,
    REPRINT,
    card_service,
    photo,
)
from tests.index_fakes import MemoryCorrections

UPSIDE_RIGHT = 6  # EXIF: to be turned by 90 degrees


class Server(uvicorn.Server):
    def __init__(self, app):
        super().__init__(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
        self.is_up = threading.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.is_up.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


@pytest.fixture
def corrections():
    return MemoryCorrections()


@pytest.fixture
def url(build_with, corrections):
    server = Server(build_with(cards=card_service(corrections=corrections)))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.is_up.wait(timeout=10)
    yield server.url
    server.should_exit = True
    thread.join()


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.jpg"
    path.write_bytes(photo(RED, GREEN, BLUE))
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_cards_of_a_photograph_are_told_to_people(url, table):
    result = run("recognise", table, "--url", url)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{table}: 3 cards"
    assert lines[1] == f"  0.95  Red Bolt  (APC 001)  {BOLT.card_id}"
    assert "        of one art: APC 002, M11 003" in lines


def test_programs_get_one_json_line_a_picture(url, table):
    result = run("recognise", table, "--url", url, "--json", "--max-cards", 2)

    [line] = map(json.loads, result.stdout.splitlines())
    assert line["path"] == str(table)
    assert [each["name"] for each in line["result"]["cards"]] == ["Red Bolt", "Green Élf"]


def test_a_bad_picture_is_told_and_the_rest_goes_on(url, table):
    bad = table.with_name("bad.jpg")
    bad.write_text("no image")

    result = run("recognise", bad, table, "--url", url)

    assert result.exit_code == 1
    assert "bad.jpg: undecodable_image" in result.stderr
    assert "3 cards" in result.stdout


def test_a_picture_is_drawn_into_the_file_that_was_named(url, table, tmp_path):
    drawn = tmp_path / "out" / "drawn.png"

    result = run("recognise", table, "--url", url, "--draw", drawn)

    assert result.exit_code == 0
    with Image.open(drawn) as picture:
        assert (picture.size, picture.format) == ((640, 480), "PNG")


def test_several_pictures_are_drawn_into_a_folder(url, table, tmp_path):
    other = table.with_name("other.jpg")
    other.write_bytes(photo(BLUE))

    run("recognise", table, other, "--url", url, "--draw", tmp_path / "drawn")

    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == ["other.jpg", "table.jpg"]


def test_a_card_is_shown(url):
    result = run("show", MOON.card_id, "--url", url)

    assert result.exit_code == 0
    assert "name       Blue Sun // Blue Moon" in result.stdout
    assert "prices     3.50 usd" in result.stdout
    shown = json.loads(run("show", MOON.card_id, "--url", url, "--json").stdout)
    assert shown["card_id"] == MOON.card_id


def test_a_card_that_nobody_knows_is_an_error(url):
    result = run("show", "nothing", "--url", url)

    assert result.exit_code == 2
    assert "card_not_found" in result.stderr


def test_cards_are_found_by_name(url):
    result = run("search", "green elf", "--url", url)

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        ELF.card_id,
        REPRINT.card_id,
    ]
    assert run("search", "nobody", "--url", url).exit_code == 1


def test_an_answer_is_corrected(url, table, corrections):
    said = ("--card", MOON.card_id, "--face", 1, "--claimed", BOLT.card_id)

    result = run("correct", table, *said, "--url", url)

    assert result.exit_code == 0
    [kept] = corrections.added.values()
    assert result.stdout == f"kept as {kept.correction_id}\n"
    assert (kept.item.card_id, kept.item.face) == (MOON.card_id, 1)
    assert kept.claimed.card_id == BOLT.card_id


def test_an_answer_is_corrected_to_no_card(url, table, corrections):
    result = run("correct", table, "--none", "--url", url)

    assert result.exit_code == 0
    assert [each.item for each in corrections.added.values()] == [None]


def test_no_server_is_told_with_what_to_do(table, unused_tcp_port):
    result = run("recognise", table, "--url", f"http://127.0.0.1:{unused_tcp_port}")

    assert result.exit_code == 2
    assert "omma up" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("recognise",),
        ("recognise", "nowhere.jpg"),
        ("recognise", __file__, "--max-cards", "0"),
        ("recognise", __file__, "--min-score", "2"),
        ("recognise", __file__, "--draw", "out.txt"),
        ("recognise", __file__, __file__, "--draw", "out.jpg"),
        ("correct", __file__),
        ("correct", __file__, "--card", "x", "--none"),
        ("correct", "nowhere.jpg", "--none"),
        ("search", "x", "--limit", "0"),
    ],
)
def test_wrong_usage_asks_no_server(arguments):
    result = run(*arguments)

    assert result.exit_code == 2
    assert "Error" in result.stderr or "Usage" in result.stdout


async def test_the_client_asks_about_cards(url):
    async with Client(url) as client:
        found = await client.recognise_cards(photo(RED, BLUE), CardMatchParams(max_cards=1))
        listed = await client.search_cards("elf", limit=1)
        card = await client.card(BOLT.card_id)
        kept = await client.correct_card(photo(RED), CorrectionParams(card_id=BOLT.card_id))
        nothing = await client.correct_card(photo())

    assert [each.name for each in found.cards] == ["Red Bolt"]
    assert [each.name for each in listed.cards] == ["Green Élf"]
    assert card.name == "Red Bolt"
    assert (kept.card_id, nothing.card_id) == (BOLT.card_id, None)


def drawn_card(*outline):
    return RecognisedCard(
        card_id="x", face=0, name="Élan // Vital", set="apc", set_name="", collector_number="1",
        score=0.9, margin=0.5, inliers=9, outline=outline, is_printing_certain=False,
        finishes=[], prices={}, image_uris={}, printings=[], alternatives=[],
    )  # fmt: skip


def test_outlines_are_drawn_on_the_upright_picture_even_beyond_its_edge():
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = UPSIDE_RIGHT
    Image.new("RGB", (400, 300), "navy").save(data, "JPEG", exif=exif)
    within = drawn_card((50, 50), (250, 50), (250, 300), (50, 300))
    beyond = drawn_card((-80, 350), (60, 350), (60, 500), (-80, 500))

    drawn = draw_cards(data.getvalue(), [within, beyond])

    assert drawn.size == (300, 400)
    assert drawn.getpixel((150, 50)) == (255, 64, 129)  # its own top edge
    assert drawn.getpixel((50, 100)) == (0, 230, 118)  # its left one
    assert drawn.getpixel((280, 100))[2] > 100  # elsewhere nothing is drawn


def test_a_name_that_is_not_utf8_is_told_to_people_and_to_programs(url, table):
    odd = table.rename(table.with_name(os.fsdecode(b"th\xe9.png")))

    told, written = (run("recognise", odd, "--url", url, *as_json) for as_json in ((), ["--json"]))

    assert told.stdout.startswith(rf"{odd.parent}/th\xe9.png: ")
    assert json.loads(written.stdout)["path"] == rf"{odd.parent}/th\xe9.png"
