"""Folders of pictures, and which source the settings open."""

import json
import os

import pytest
from pydantic import ValidationError

from deployments.sources import open_source
from omma.domain.cards import CardFace
from omma.domain.errors import (
    EmptyImage,
    MediaNotFound,
    SourceCorrupt,
    SourceUnavailable,
    TooManyBytes,
)
from omma.settings import Settings
from omma.stores.cards.folder import FolderSource


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.JPG", "notes.txt", ".hidden.png"):
        (folder / name).write_bytes(f"picture {name}".encode())
    return folder


@pytest.fixture
def source(folder):
    return FolderSource(folder, max_image_bytes=100)


async def read(source, work=None):
    return [card async for chunk in source.cards(work) for card in chunk]


def face(path):
    return CardFace(0, "Name", path, "key")


def table(folder, *lines):
    (folder / "cards.csv").write_text("\n".join(lines), encoding="utf-8-sig")


# Without a table


async def test_every_picture_is_a_card_by_its_name(source):
    cards = await read(source)

    assert [(card.card_id, card.name) for card in cards] == [("a", "a"), ("b", "b")]
    assert await source.image(cards[1].faces[0]) == b"picture b.JPG"


async def test_another_picture_has_another_key(source, folder):
    [before, same] = await read(source)
    (folder / "a.png").write_bytes(b"something else")

    [after, still] = await read(source)

    assert after.faces[0].image_key != before.faces[0].image_key
    assert still == same


async def test_two_pictures_of_one_name_are_told(source, folder):
    (folder / "a.jpg").write_bytes(b"x")

    with pytest.raises(SourceCorrupt, match=r"'a\.jpg' and 'a\.png'"):
        await read(source)


async def test_a_folder_without_pictures_is_no_source(tmp_path):
    with pytest.raises(SourceCorrupt, match="found none"):
        await read(FolderSource(tmp_path, max_image_bytes=100))


async def test_a_folder_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(SourceUnavailable, match="no folder"):
        await read(FolderSource(tmp_path / "unmounted", max_image_bytes=100))


async def test_the_plan_of_a_folder_is_exact(source):
    plan = await source.plan()

    assert (plan.cards, plan.faces, plan.new_images, plan.is_exact) == (2, 2, 2, True)
    assert plan.download_bytes == 2 * len("picture a.png")


# With a table


async def test_a_table_says_what_pictures_are(source, folder):
    table(
        folder,
        "id, name, image, set, set_name, collector_number, group, Author, image_back",
        '7,"Ärger, der",a.png,one,Set One,007,art,Somebody,b.JPG',
        "",
        "8,,b.JPG,,,,,,",
    )

    first, second = await read(source)

    assert (first.card_id, first.name) == ("7", "Ärger, der")
    assert (first.set_code, first.set_name, first.collector_number) == ("one", "Set One", "007")
    assert first.extra == {"Author": "Somebody"}
    assert [(each.number, each.image_url, each.illustration) for each in first.faces] == [
        (0, "a.png", "art"),
        (1, "b.JPG", "art#1"),
    ]
    assert (second.name, second.faces[0].illustration) == ("8", "")


@pytest.mark.parametrize("is_wrapped", [False, True])
async def test_a_table_may_be_json(source, folder, is_wrapped):
    cards = [{"id": 7, "name": None, "image": "a.png", "year": 1999, "is_rare": True}]
    (folder / "cards.json").write_text(json.dumps({"cards": cards} if is_wrapped else cards))

    [card] = await read(source)

    assert (card.card_id, card.name) == ("7", "7")
    assert card.extra == {"year": "1999", "is_rare": "true"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id,name", "1,x"], r"line 1: .* lacks image"),
        (["id,image,image", "1,a.png,b.png"], r"line 1: .* got 'image'"),
        (["id,image", "1,a.png", "2"], r"line 3: expected 2 columns, got 1"),
        (["id,image", ",a.png"], r"line 2, column 'id': expected a value"),
        (["id,image", "1,"], r"line 2, column 'image': expected a value"),
        (["id,image", "1,c.png"], r"line 2, column 'image': .* no file 'c\.png'"),
        (["id,image", "1,../secret.png"], r"line 2, column 'image': .* no file"),
        (["id,image", "1,a.png", "1,b.JPG"], r"line 3, column 'id': .* cards\.csv line 2 again"),
        (["id,image", f"{'x' * 201},a.png"], r"line 2, column 'id': expected at most 200"),
        (["id,image", '1,"a.png'], r"line 2: "),
        ([""], r"line 1: expected a header"),
    ],
)
async def test_what_is_wrong_in_a_table_is_found_by_line_and_column(source, folder, lines, message):
    (folder.parent / "secret.png").write_bytes(b"secret")
    table(folder, *lines)

    with pytest.raises(SourceCorrupt, match=message):
        await read(source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", r"cards\.json line 1, character 3"),
        ("7", "expected an array"),
        ("[7]", "card 1: expected an object, got int"),
        ('[{"id": "1", "image": ["a.png"]}]', "card 1, column 'image': expected a text"),
        ('[{"id": "1"}]', "card 1, column 'image': expected a value"),
    ],
)
async def test_what_is_wrong_in_json_is_found_too(source, folder, text, message):
    (folder / "cards.json").write_text(text)

    with pytest.raises(SourceCorrupt, match=message):
        await read(source)


async def test_two_tables_contradict_each_other(source, folder):
    table(folder, "id,image", "1,a.png")
    (folder / "cards.json").write_text("[]")

    with pytest.raises(SourceCorrupt, match="got both"):
        await read(source)


async def test_a_table_in_another_encoding_is_told(source, folder):
    (folder / "cards.csv").write_bytes("id,image\né,a.png".encode("latin-1"))

    with pytest.raises(SourceCorrupt, match="UTF-8"):
        await read(source)


# Pictures


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/hostname", "sub/../../secret.png", "\0", "."]
)
async def test_nothing_outside_the_folder_is_read(source, folder, path):
    (folder.parent / "secret.png").write_bytes(b"secret")
    (folder / "sub").mkdir()

    with pytest.raises(MediaNotFound):
        await source.image(face(path))


async def test_links_lead_nowhere_outside(source, folder):
    (folder.parent / "secret.png").write_bytes(b"secret")
    (folder / "out.png").symlink_to(folder.parent / "secret.png")
    (folder / "in.png").symlink_to("a.png")

    with pytest.raises(MediaNotFound):
        await source.image(face("out.png"))
    assert await source.image(face("in.png")) == b"picture a.png"


async def test_pictures_have_limits(source, folder):
    (folder / "large.png").write_bytes(bytes(101))
    (folder / "empty.png").write_bytes(b"")
    os.mkfifo(folder / "pipe.png")

    for name, error in (
        ("large.png", TooManyBytes),
        ("empty.png", EmptyImage),
        ("pipe.png", MediaNotFound),
    ):
        with pytest.raises(error):
            await source.image(face(name))


# Which one


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        ({"type": "sample"}, "sample"),
        ({"type": "scryfall"}, "scryfall"),
        ({"type": "folder", "folder": "pictures"}, "folder"),
    ],
)
async def test_the_settings_choose_the_source(chosen, name):
    source = open_source(Settings(cards={"source": chosen}))

    assert source.name == name
    await source.close()


def test_no_source_is_a_choice():
    assert open_source(Settings(cards={"source": {"type": "none"}})) is None


def test_a_folder_source_needs_a_folder():
    with pytest.raises(ValidationError, match="folder to be set"):
        Settings(cards={"source": {"type": "folder"}})


async def test_a_folder_lies_below_home_unless_absolute(folder):
    chosen = {"source": {"type": "folder", "folder": "pictures"}}

    source = open_source(Settings(home=folder.parent, cards=chosen))

    assert len(await read(source)) == 2
