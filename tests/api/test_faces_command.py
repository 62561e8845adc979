"""`omma faces` against a real server on this machine, with made-up faces."""

import errno
import io
import json
import os
import threading

import numpy as np
import pytest
import uvicorn
from PIL import Image
from typer.testing import CliRunner

from omma.cli.drawing import draw_faces
from omma.cli.faces import app
from omma.cli.pictures import find_pictures
from omma.vision.images import ImageLimits, decode, probe
from omma.wire.faces import Bbox, DetectedFace, Landmarks
from tests import pngs
from tests.tiffs import LONG, WHITE_IS_ZERO, Layout, tiff

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
def url(build):
    server = Server(build(max_interactive=50))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.is_up.wait(timeout=10)
    yield server.url
    server.should_exit = True
    thread.join()


@pytest.fixture
def folder(tmp_path):
    """Two pictures, one of them below, and a file that is none."""
    (tmp_path / "below").mkdir()
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "below" / "a.jpg").write_bytes(jpeg())
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def jpeg(size=(640, 480), orientation=1):
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, "navy").save(data, "JPEG", exif=exif)
    return data.getvalue()


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines(result):
    return {line["path"]: line for line in map(json.loads, result.stdout.splitlines())}


def test_a_folder_gives_one_json_line_a_picture(url, folder):
    result = run("detect", folder, "--url", url)

    assert result.exit_code == 0
    assert lines(result).keys() == {str(folder / "a.jpg"), str(folder / "below" / "a.jpg")}
    assert all(line["result"]["faces"] for line in lines(result).values())


def test_many_pictures_are_sent_through_a_narrow_door(url, tmp_path):
    for index in range(40):
        (tmp_path / f"{index}.png").write_bytes(b"faces:1")

    result = run("detect", tmp_path, "--url", url, "--concurrency", 7)

    assert result.exit_code == 0
    assert len(lines(result)) == 40


def test_embeddings_are_written_as_asked(url, folder):
    options = ("--models", "facenet,arcface", "--encoding", "base64", "--crops")

    result = run("embed", folder / "a.jpg", "--url", url, *options)

    [line] = lines(result).values()
    [face] = line["result"]["faces"]
    assert face["embeddings"].keys() == {"facenet", "arcface"}
    assert isinstance(face["embeddings"]["facenet"]["values"], str)
    assert face["crop"]


def test_a_bad_picture_has_its_error_in_its_line_and_the_rest_goes_on(url, folder):
    result = run("detect", folder / "notes.txt", folder / "a.jpg", "--url", url)

    assert result.exit_code == 1
    found = lines(result)
    assert found[str(folder / "notes.txt")]["error"]["code"] == "undecodable_image"
    assert found[str(folder / "a.jpg")]["result"]


def test_an_unknown_model_is_every_lines_error(url, folder):
    result = run("embed", folder, "--url", url, "--models", "magface")

    assert result.exit_code == 1
    assert {line["error"]["code"] for line in lines(result).values()} == {"model_not_found"}


def test_drawn_pictures_keep_their_folders_and_overwrite_nothing(url, folder, tmp_path_factory):
    drawn = tmp_path_factory.mktemp("drawn")

    run("detect", folder, "--url", url, "--draw", drawn)
    run("detect", folder, "--url", url, "--draw", drawn)

    names = sorted(str(path.relative_to(drawn)) for path in drawn.rglob("*.jpg"))
    assert names == ["a-2.jpg", "a.jpg", "below/a-2.jpg", "below/a.jpg"]


def test_an_answer_whose_drawing_fails_is_printed_and_the_rest_goes_on(url, folder, tmp_path):
    odd = folder / "odd.png"
    odd.write_bytes(b"faces:1")  # answered by the server's fake, and not to be opened

    result = run("detect", folder, "--url", url, "--draw", tmp_path / "drawn")

    assert result.exit_code == 1
    assert all(line["result"]["faces"] for line in lines(result).values())
    assert len(lines(result)) == 3
    assert [line.startswith(f"{odd}: not drawn: expected one of") for line in told(result)] == [
        True
    ]
    assert sorted(path.name for path in (tmp_path / "drawn").rglob("*.jpg")) == ["a.jpg", "a.jpg"]


def test_a_folder_for_drawings_that_cannot_be_written_costs_no_answer(url, folder, tmp_path):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "below").write_bytes(b"a file where a folder should be")

    result = run("detect", folder, "--url", url, "--draw", tmp_path / "drawn")

    assert result.exit_code == 1
    assert all(line["result"]["faces"] for line in lines(result).values())
    assert [line.split(":")[1] for line in told(result)] == [" not drawn"]


def told(result):
    return result.stderr.splitlines()


def test_no_server_is_told_with_what_to_do(folder, unused_tcp_port):
    result = run("detect", folder, "--url", f"http://127.0.0.1:{unused_tcp_port}")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "omma up" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("detect",),
        ("detect", "nowhere.jpg"),
        ("detect", "nowhere*.jpg"),
        ("detect", __file__, "--det-size", "641"),
        ("detect", __file__, "--min-score", "2"),
        ("embed", __file__, "--encoding", "hex"),
        ("detect", __file__, "--concurrency", "0"),
    ],
)
def test_wrong_usage_asks_no_server(arguments):
    result = run(*arguments)

    assert result.exit_code == 2
    assert "Error" in result.stderr


def test_the_url_may_come_from_the_environment(url, folder):
    result = CliRunner().invoke(app, ["detect", str(folder)], env={"OMMA_URL": url})

    assert result.exit_code == 0


def test_a_picture_named_twice_is_sent_once(folder):
    pattern = str(folder / "**" / "*.jpg")

    found = find_pictures([str(folder), str(folder / "a.jpg"), pattern])

    assert [str(picture.name) for picture in found] == ["a.jpg", "below/a.jpg"]


@pytest.mark.parametrize(
    "data",
    [
        pngs.png(np.full((12, 16, 1), 20_000), pngs.GREY, 16),
        pngs.png(np.full((12, 16, 4), (0, 200, 0, 0)), pngs.COLOUR_ALPHA, 8),
        tiff(np.full((12, 16, 1), 20_000), Layout(WHITE_IS_ZERO, 16)),
        tiff(np.full((12, 16, 3), 99), Layout(tags={274: (LONG, (6,))})),
    ],
)
def test_a_drawing_shows_what_the_server_saw(data):
    seen = decode(data, probe(data, ImageLimits()))

    assert (np.asarray(draw_faces(data, [])) == seen).all()


def test_faces_are_drawn_on_the_upright_picture():
    face = DetectedFace(
        face_index=0,
        bbox=Bbox(x=10, y=30, width=20, height=40),
        confidence=0.9,
        quality=0.5,
        landmarks=Landmarks(
            left_eye=(15, 40), right_eye=(25, 40), nose=(20, 50),
            left_mouth=(16, 60), right_mouth=(24, 60),
        ),
    )  # fmt: skip

    drawn = draw_faces(jpeg((200, 100), UPSIDE_RIGHT), [face])

    assert drawn.size == (100, 200)
    assert drawn.getpixel((10, 60))[1] > 200  # the box's left edge is green
    assert drawn.getpixel((20, 50)) == (0, 229, 255)  # the nose
    assert drawn.getpixel((60, 150)) == drawn.getpixel((90, 190))  # elsewhere nothing is drawn


def test_a_name_that_is_not_utf8_is_written_with_escapes(url, tmp_path):
    (tmp_path / os.fsdecode(b"th\xe9.jpg")).write_bytes(jpeg())

    result = run("detect", tmp_path, "--url", url)

    assert result.exit_code == 0
    assert lines(result).keys() == {rf"{tmp_path}/th\xe9.jpg"}


def test_a_folder_that_cannot_be_read_has_its_line_and_counts(url, folder, monkeypatch):
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda at: refuse(at) if at.name == "below" else scandir(at))

    result = run("detect", folder, "--url", url)

    assert result.exit_code == 1
    found = lines(result)
    assert found[str(folder / "below")]["error"]["code"] == "file_error"
    assert found[str(folder / "a.jpg")]["result"]


def refuse(path):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))
