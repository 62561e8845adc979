"""Files of snapshots: in a folder, on a real S3 server; refused unless they are those put."""

import asyncio
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from pathlib import Path

import pytest

from omma.domain.errors import (
    BlobNotFound,
    IndexCorrupt,
    InvalidInput,
    SnapshotNotFound,
    StoreUnavailable,
)
from omma.stores import blobs as blobs_module
from omma.stores import folders
from omma.stores.blobs import S3Access, open_blobs
from omma.stores.snapshots import BlobSnapshotFiles
from tests.s3_servers import BUCKET, s3_server
from tests.servers import unused_port

__all__ = ["s3_server"]

NAME, VERSION = "cards", "20260101T020000-abcd"
FILES = {"index.faiss": b"vectors" * 1000, "names/items.json": b"[]", "empty.bin": b""}


@pytest.fixture(params=["folder", "s3"])
def blobs(request, tmp_path):
    if request.param == "folder":
        return open_blobs(str(tmp_path / "blobs"))
    server = request.getfixturevalue("s3_server")
    return open_blobs(f"s3://{BUCKET}/{uuid.uuid4().hex}", server.access)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def files(blobs, cache):
    return BlobSnapshotFiles(blobs, cache, spared_s=0)


@pytest.fixture
def built(tmp_path):
    return write(tmp_path / "built")


def write(folder, files=FILES):
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def read(folder):
    """Every file of a fetched copy but its mark."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def blob(path):
    return f"indexes/{NAME}/{VERSION}/{path}"


async def test_what_was_put_is_fetched(files, built):
    size = await files.put(NAME, VERSION, built)

    assert read(await files.fetch(NAME, VERSION)) == FILES
    assert size == sum(map(len, FILES.values()))


async def test_the_manifest_tells_every_file_its_size_and_hash(files, blobs, built):
    await files.put(NAME, VERSION, built)

    manifest = json.loads(await blobs.read(blob("manifest.json")))
    assert manifest["files"] == {
        path: {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in FILES.items()
    }


async def test_files_of_several_parts_arrive_whole(files, built):
    large = os.urandom(2 * blobs_module.PART + 12_345)
    (built / "large.bin").write_bytes(large)

    await files.put(NAME, VERSION, built)

    assert (await files.fetch(NAME, VERSION) / "large.bin").read_bytes() == large


async def test_a_second_fetch_asks_the_blob_store_nothing(files, built):
    await files.put(NAME, VERSION, built)
    copy = await files.fetch(NAME, VERSION)
    await files.delete(NAME, VERSION)

    assert await files.fetch(NAME, VERSION) == copy
    assert read(copy) == FILES


async def test_without_a_manifest_there_is_no_snapshot(files, blobs, built):
    await files.put(NAME, VERSION, built)
    await blobs.delete([blob("manifest.json")])

    with pytest.raises(SnapshotNotFound):
        await files.fetch(NAME, VERSION)


SPOILT = {
    "truncated": lambda data: data[:-1],
    "longer": lambda data: data + b"x",
    "changed": lambda data: b"V" + data[1:],
    "empty": lambda _data: b"",
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_other_bytes_than_the_manifest_says_are_refused(files, blobs, built, cache, spoil):
    await files.put(NAME, VERSION, built)
    await blobs.put(blob("index.faiss"), spoil(FILES["index.faiss"]))

    with pytest.raises(IndexCorrupt, match=r"index\.faiss"):
        await files.fetch(NAME, VERSION)
    assert list((cache / NAME).iterdir()) == []


async def test_a_file_that_is_gone_is_refused(files, blobs, built):
    await files.put(NAME, VERSION, built)
    await blobs.delete([blob("empty.bin")])

    with pytest.raises(IndexCorrupt, match=r"empty\.bin"):
        await files.fetch(NAME, VERSION)


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b'{"files": {"../../up": {"size_bytes": 0, "sha256": ""}}}',
        b'{"files": {"/etc/passwd": {"size_bytes": 0, "sha256": ""}}}',
        b'{"files": {"a": {"size_bytes": -1, "sha256": ""}}}',
    ],
    ids=["empty", "half", "a list", "up", "absolute", "negative"],
)
async def test_a_manifest_that_is_none_is_refused(files, blobs, manifest):
    await blobs.put(blob("manifest.json"), manifest)

    with pytest.raises(IndexCorrupt):
        await files.fetch(NAME, VERSION)


async def test_a_put_that_was_cut_short_is_completed_by_the_next(files, blobs, built, monkeypatch):
    real, put = blobs.put_file, []

    async def fail_later(path, file):
        if put:
            raise StoreUnavailable("no answer", 5)
        put.append(path)
        await real(path, file)

    monkeypatch.setattr(blobs, "put_file", fail_later)
    with pytest.raises(StoreUnavailable):
        await files.put(NAME, VERSION, built)
    monkeypatch.undo()
    with pytest.raises(SnapshotNotFound):
        await files.fetch(NAME, VERSION)
    assert await files.stored(NAME) == [VERSION]

    await files.put(NAME, VERSION, built)

    assert read(await files.fetch(NAME, VERSION)) == FILES


async def test_other_files_of_the_same_version_replace_those_before(files, built, tmp_path):
    await files.put(NAME, VERSION, built)
    await files.put(NAME, VERSION, write(tmp_path / "again", FILES | {"index.faiss": b"new"}))

    assert (await files.fetch(NAME, VERSION) / "index.faiss").read_bytes() == b"new"


async def test_a_fetched_copy_can_be_put_as_another_version(files, built):
    await files.put(NAME, VERSION, built)

    await files.put(NAME, "other", await files.fetch(NAME, VERSION))

    assert read(await files.fetch(NAME, "other")) == FILES


async def test_what_is_deleted_is_gone(files, built):
    await files.put(NAME, VERSION, built)
    await files.put(NAME, f"{VERSION}0", built)
    await files.delete(NAME, VERSION)
    await files.delete(NAME, VERSION)

    assert await files.stored(NAME) == [f"{VERSION}0"]
    with pytest.raises(SnapshotNotFound):
        await files.fetch(NAME, VERSION)


async def test_of_an_unknown_index_nothing_is_stored(files):
    assert await files.stored(NAME) == []


async def test_evicted_are_copies_but_for_those_kept(files, built, cache):
    for version in ("1", "2", "3"):
        await files.put(NAME, version, built)
        await files.fetch(NAME, version)

    await files.evict(NAME, ["2"])

    assert [each.name for each in (cache / NAME).iterdir()] == ["2"]
    assert read(await files.fetch(NAME, "3")) == FILES


async def test_a_copy_that_cannot_be_removed_keeps_no_other(files, built, cache, monkeypatch):
    for version in ("a", "b", "c"):
        await files.put(NAME, version, built)
        await files.fetch(NAME, version)
    real = Path.rename

    def rename(path, target):
        if path.name == "a":
            raise PermissionError(13, "another user's")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)

    with pytest.raises(StoreUnavailable, match="another user's"):
        await files.evict(NAME, ["c"])
    assert sorted(each.name for each in (cache / NAME).iterdir()) == ["a", "c"]


async def test_copies_asked_for_lately_and_those_being_made_are_spared(blobs, built, cache):
    files = BlobSnapshotFiles(blobs, cache)
    await files.put(NAME, VERSION, built)
    copy = await files.fetch(NAME, VERSION)
    young, old = (cache / NAME / f"1.{name}.part" for name in ("young", "old"))
    for part in (young, old):
        part.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)

    await files.evict(NAME, [])

    assert sorted((cache / NAME).iterdir()) == sorted([copy, young])


async def test_a_damaged_copy_is_fetched_anew(files, built):
    await files.put(NAME, VERSION, built)
    copy = await files.fetch(NAME, VERSION)
    (copy / "index.faiss").unlink()
    (copy / "index.faiss").write_bytes(b"half")

    assert read(await files.fetch(NAME, VERSION)) == FILES


@pytest.mark.parametrize(
    ("name", "version"), [("a/b", "1"), ("..", "1"), ("a", "../b"), ("a", "b/c")]
)
async def test_names_that_lead_elsewhere_are_refused(files, built, name, version):
    for ask in (
        lambda: files.put(name, version, built),
        lambda: files.fetch(name, version),
        lambda: files.delete(name, version),
    ):
        with pytest.raises(InvalidInput):
            await ask()


async def test_many_who_fetch_at_once_get_one_whole_copy(files, built, cache):
    await files.put(NAME, VERSION, built)

    copies = await asyncio.gather(*(files.fetch(NAME, VERSION) for _ in range(8)))

    assert set(copies) == {cache / NAME / VERSION}
    assert [each.name for each in (cache / NAME).iterdir()] == [VERSION]
    assert read(copies[0]) == FILES


FETCH = """
import asyncio, sys
from pathlib import Path
from omma.stores.blobs import open_blobs
from omma.stores.snapshots import BlobSnapshotFiles

async def fetch(url, cache, name, version):
    files = BlobSnapshotFiles(open_blobs(url), Path(cache))
    sys.stdin.readline()
    print((await files.fetch(name, version)), flush=True)

asyncio.run(fetch(*sys.argv[1:]))
"""


async def test_several_processes_share_one_copy(tmp_path, cache, built):
    url = str(tmp_path / "blobs")
    await BlobSnapshotFiles(open_blobs(url), cache).put(NAME, VERSION, built)
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", FETCH, url, str(cache), NAME, VERSION,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip

    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))

    assert {answer.decode().strip() for answer, _ in answers} == {str(cache / NAME / VERSION)}
    assert [each.name for each in (cache / NAME).iterdir()] == [VERSION]


async def test_in_a_folder_of_the_same_file_system_a_copy_takes_no_room(tmp_path, cache, built):
    files = BlobSnapshotFiles(open_blobs(str(tmp_path / "blobs")), cache)
    await files.put(NAME, VERSION, built)

    copy = await files.fetch(NAME, VERSION)

    assert (copy / "index.faiss").stat().st_nlink == 2


async def test_where_there_are_no_hard_links_bytes_are_copied(tmp_path, cache, built, monkeypatch):
    def refuse(*_):
        raise OSError(next(iter(folders.NO_LINK)), "no links here")

    files = BlobSnapshotFiles(open_blobs(str(tmp_path / "blobs")), cache)
    await files.put(NAME, VERSION, built)
    monkeypatch.setattr(folders.os, "link", refuse)

    copy = await files.fetch(NAME, VERSION)

    assert read(copy) == FILES
    assert (copy / "index.faiss").stat().st_nlink == 1


async def test_bytes_are_on_the_disk_before_the_copy_has_its_name(files, built, monkeypatch):
    await files.put(NAME, VERSION, built)
    steps = []
    synced, renamed = os.fsync, type(built).rename
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("sync"), synced(fd))[1])
    monkeypatch.setattr(
        type(built), "rename", lambda *args: (steps.append("name"), renamed(*args))[1]
    )

    await files.fetch(NAME, VERSION)

    assert steps.count("name") == 1
    assert "sync" in steps[: steps.index("name")]


async def test_a_cache_that_cannot_be_written_is_told_as_unavailable(blobs, built, tmp_path):
    (tmp_path / "cache").write_bytes(b"a file")
    files = BlobSnapshotFiles(blobs, tmp_path / "cache")
    await files.put(NAME, VERSION, built)

    with pytest.raises(StoreUnavailable):
        await files.fetch(NAME, VERSION)


async def test_a_server_that_is_away_is_told_as_unavailable(tmp_path, built):
    access = S3Access(f"http://127.0.0.1:{unused_port()}", "us-east-1", "key", "secret", 2)
    files = BlobSnapshotFiles(open_blobs(f"s3://{BUCKET}", access), tmp_path / "cache")

    with pytest.raises(StoreUnavailable):
        await files.put(NAME, VERSION, built)
    with pytest.raises(StoreUnavailable):
        await files.fetch(NAME, VERSION)


async def test_a_large_file_that_is_not_there_is_not_found(blobs, tmp_path):
    with pytest.raises(BlobNotFound):
        await blobs.get_file("a/nothing", tmp_path / "file")
    assert list(tmp_path.glob("file*")) + list(tmp_path.glob("*.part")) == []


async def test_a_copy_outlives_the_blobs_of_the_folder(tmp_path, cache, built):
    files = BlobSnapshotFiles(open_blobs(str(tmp_path / "blobs")), cache)
    await files.put(NAME, VERSION, built)
    copy = await files.fetch(NAME, VERSION)

    shutil.rmtree(tmp_path / "blobs")

    assert read(copy) == FILES
