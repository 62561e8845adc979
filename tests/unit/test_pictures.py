"""Which files a command line means, whatever they are called and whoever may read them."""

import codecs
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omma.cli import paths
from omma.cli.paths import shown
from omma.cli.pictures import find_pictures

NOBODY = 65534


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of ours; paths are relative: nobody else may enter the folders above."""
    (tmp_path / "here").mkdir(mode=0o755)
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def as_nobody():
    """A function that loses the rights of root, who may read everything."""
    before = os.geteuid()
    yield lambda: before or os.seteuid(NOBODY)
    os.seteuid(before)


def put(*names):
    for path in map(Path, names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"faces:1")


def found(*arguments):
    return [str(picture.path) for picture in find_pictures(arguments)]


def faults(*arguments):
    return {str(each.path): each.fault for each in find_pictures(arguments) if each.fault}


def test_a_folder_that_may_not_be_listed_or_entered_is_found_with_its_fault(as_nobody):
    put("all/a.jpg", "all/unlisted/b.jpg", "all/unentered/c.jpg", "all/open/d.jpg")
    Path("all/unlisted").chmod(0o111)
    Path("all/unentered").chmod(0o444)
    as_nobody()

    wrong = faults("all")

    assert wrong.keys() == {"all/unlisted", "all/unentered"}
    assert all(isinstance(each, PermissionError) for each in wrong.values())
    assert {"all/a.jpg", "all/open/d.jpg"} <= set(found("all"))
    assert faults("all/**/*.jpg").keys() == wrong.keys()
    assert "all/unentered/c.jpg" in faults("all/unentered/c.jpg")
    with pytest.raises(PermissionError):
        next(each for each in find_pictures(["all"]) if each.fault).read()


def test_folders_behind_links_are_entered_once_and_under_their_own_name():
    put("all/z/a.jpg", "beyond/b.jpg")
    Path("all/first").symlink_to("z")
    Path("all/second").symlink_to("../beyond")
    Path("all/third").symlink_to("../beyond")

    assert found("all") == ["all/second/b.jpg", "all/z/a.jpg"]


def test_links_that_lead_back_or_nowhere_end_nothing():
    put("all/a.jpg", "all/below/b.jpg")
    Path("all/self").symlink_to(".")
    Path("all/below/up").symlink_to("../..")
    Path("all/loop.jpg").symlink_to("loop.jpg")
    Path("all/gone.jpg").symlink_to("nowhere")

    assert found("all") == ["all/a.jpg", "all/below/b.jpg"]
    assert found("all/**/*.jpg") == ["all/a.jpg", "all/below/b.jpg"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("all/*.jpg", ["all/a.jpg"]),
        ("all/**/*.jpg", ["all/a.jpg", "all/one/b.jpg", "all/one/two/c.jpg"]),
        ("all/**/one/*.jpg", ["all/one/b.jpg"]),
        ("all/**/t?o", ["all/one/two/c.jpg"]),
        ("**/*.txt", ["all/one/notes.txt"]),
        ("a*/**", ["all/.hidden.jpg", "all/a.jpg", *[f"all/one/{x}" for x in
                   ("b.jpg", "notes.txt", "two/c.jpg")]]),
    ],
)  # fmt: skip
def test_globs_mean_what_a_shell_takes_them_for(pattern, names):
    put("all/a.jpg", "all/.hidden.jpg", "all/one/b.jpg", "all/one/notes.txt", "all/one/two/c.jpg")

    assert found(pattern) == names


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_the_bytes_of_a_shown_path_can_be_had_back(name):
    text = shown(os.fsdecode(name))

    assert codecs.escape_decode(text.encode())[0] == name
    assert text.isprintable() or not paths.CONTROL.search(text)


def test_a_shown_path_is_plain_where_it_can_be():
    assert shown("фото/été 1.jpg") == "фото/été 1.jpg"
    assert shown(os.fsdecode(b"th\xe9\n.jpg")) == r"th\xe9\x0a.jpg"
    assert shown("back\\slash") == r"back\\slash"


def test_output_that_cannot_carry_a_text_carries_its_escapes(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", out)

    paths.write_any_text()
    out.write(os.fsdecode(b"th\xe9 ") + "Æther")
    out.flush()

    assert out.buffer.getvalue() == rb"th\xe9 \xc6ther"
