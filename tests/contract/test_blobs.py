"""What every blob store promises: in memory, in a folder, on a real S3 server."""

import asyncio
import errno
import os
import pickle
import socket
import sys
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from omma.domain.errors import (
    BlobNotFound,
    CannotStart,
    InvalidInput,
    StoreFull,
    StoreUnavailable,
)
from omma.stores import folders
from omma.stores.blobs import S3Access, open_blobs
from tests.logged import logged
from tests.s3_servers import BUCKET, s3_server
from tests.servers import unused_port

__all__ = ["s3_server"]

NO_FILES = [
    "", "/", "/etc/passwd", "..", "../up", "a/../b", "a/./b", "a//b", "a/", "a\\b", "a\0b", "a\nb",
    "a" * 300, "/".join(["abcdefghi"] * 200), "\udcff",
]  # fmt: skip


@pytest.fixture(params=["memory", "folder", "s3"])
def blobs(request, tmp_path):
    match request.param:
        case "memory":
            return open_blobs("memory://")
        case "folder":
            return open_blobs(str(tmp_path / "blobs"))
        case _:
            server = request.getfixturevalue("s3_server")
            return open_blobs(f"s3://{BUCKET}/{uuid.uuid4().hex}", server.access)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "blobs"


@pytest.fixture
def folder(root):
    return open_blobs(str(root))


async def paths(blobs, prefix=""):
    return sorted([each.path async for chunk in blobs.list(prefix) for each in chunk])


async def test_what_was_put_is_read(blobs):
    await blobs.put("jobs/1/faces/0.bin", b"hello")

    assert await blobs.read("jobs/1/faces/0.bin") == b"hello"


async def test_a_put_replaces_what_was_there(blobs):
    await blobs.put("a/b", b"a longer one")
    await blobs.put("a/b", b"short")

    assert await blobs.read("a/b") == b"short"


async def test_a_large_file_arrives_whole(blobs):
    data = os.urandom(6_000_000)

    await blobs.put("large.bin", data)

    assert await blobs.read("large.bin") == data


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 3), (2, 4), (2, None), (4, 99), (5, None), (9, 12), (3, 3), (3, 1), (0, 5)],
)
async def test_a_part_is_what_a_slice_would_be(blobs, start, end):
    await blobs.put("a/b", b"hello")

    assert await blobs.read("a/b", start=start, end=end) == b"hello"[start:end]


async def test_a_file_may_be_empty(blobs):
    await blobs.put("a/empty", b"")

    assert await blobs.read("a/empty") == b""
    assert (await blobs.info("a/empty")).size_bytes == 0


async def test_info_tells_size_and_age(blobs):
    await blobs.put("a/b", b"hello")

    info = await blobs.info("a/b")

    assert (info.path, info.size_bytes) == ("a/b", 5)
    assert abs(info.modified_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert '"' not in info.etag


async def test_other_bytes_have_another_etag(blobs):
    await blobs.put("a/b", b"hello")
    before = await blobs.info("a/b")
    await blobs.put("a/b", b"hullo")

    assert (await blobs.info("a/b")).etag != before.etag


ABSENT = {
    "file": lambda blobs: blobs.read("a/nothing"),
    "part": lambda blobs: blobs.read("a/nothing", start=1, end=2),
    "folder": lambda blobs: blobs.read("a"),
    "below a file": lambda blobs: blobs.read("a/b/c"),
    "info": lambda blobs: blobs.info("a/nothing"),
    "info of a folder": lambda blobs: blobs.info("a"),
    "move": lambda blobs: blobs.move("a/nothing", "c"),
}


@pytest.mark.parametrize("ask", ABSENT.values(), ids=ABSENT)
async def test_what_is_not_there_is_not_found(blobs, ask):
    await blobs.put("a/b", b"hello")

    with pytest.raises(BlobNotFound):
        await ask(blobs)


async def test_a_listing_has_everything_below_a_folder_and_nothing_beside_it(blobs):
    for path in ("a/1", "a/b/2", "ab/3", "a.txt", "4 ü%+#&?=.bin"):
        await blobs.put(path, b"x")

    assert await paths(blobs, "a") == ["a/1", "a/b/2"]
    assert await paths(blobs) == ["4 ü%+#&?=.bin", "a.txt", "a/1", "a/b/2", "ab/3"]
    assert await paths(blobs, "nothing") == []


async def test_a_listing_comes_in_chunks(blobs, monkeypatch):
    for module in ("folders", "blobs"):
        monkeypatch.setattr(f"omma.stores.{module}.CHUNK", 2)
    for number in range(5):
        await blobs.put(f"a/{number}", b"12")

    chunks = [chunk async for chunk in blobs.list("a")]

    assert len(chunks) >= 3
    assert sum(each.size_bytes for chunk in chunks for each in chunk) == 10


async def test_a_moved_file_is_in_the_new_place_alone(blobs):
    await blobs.put("attempts/1/1/a.bin", b"hello")

    await blobs.move("attempts/1/1/a.bin", "jobs/1/a.bin")

    assert await paths(blobs) == ["jobs/1/a.bin"]
    assert await blobs.read("jobs/1/a.bin") == b"hello"


async def test_a_move_replaces_what_was_there(blobs):
    await blobs.put("a", b"old")
    await blobs.put("b", b"new")

    await blobs.move("b", "a")

    assert await blobs.read("a") == b"new"


async def test_deleting_passes_over_what_is_not_there(blobs):
    await blobs.put("a/1", b"x")
    await blobs.put("a/2", b"x")

    await blobs.delete(["nothing", "a/1", "a/nothing"])
    await blobs.delete([])
    await blobs.delete(["a/1"])

    assert await paths(blobs) == ["a/2"]


async def test_many_at_once_do_not_disturb_each_other(blobs):
    async def come_and_go(number):
        path = f"a/{number % 4}/{number}"
        await blobs.put(path, b"x")
        await blobs.move(path, f"b/{number % 4}/{number}")
        await blobs.delete([f"b/{number % 4}/{number}"])

    await asyncio.gather(*map(come_and_go, range(60)))

    assert await paths(blobs) == []


@pytest.mark.parametrize("path", NO_FILES, ids=range(len(NO_FILES)))
async def test_what_is_no_path_of_a_file_is_refused_everywhere(blobs, path):
    for ask in (
        lambda: blobs.put(path, b"x"),
        lambda: blobs.read(path),
        lambda: blobs.info(path),
        lambda: blobs.move(path, "a"),
        lambda: blobs.move("a", path),
        lambda: blobs.delete([path]),
    ):
        with pytest.raises(InvalidInput):
            await ask()
    if path:
        with pytest.raises(InvalidInput):
            await paths(blobs, path)


async def test_files_and_folders_are_for_their_owner_alone(folder, root):
    await folder.put("a/b/c.bin", b"x")

    assert [each.stat().st_mode & 0o777 for each in (root, root / "a", root / "a/b")] == [0o700] * 3
    assert (root / "a/b/c.bin").stat().st_mode & 0o777 == 0o600


async def test_a_link_that_leads_out_leads_nowhere(folder, root, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_bytes(b"secret")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "file").symlink_to(tmp_path / "secret/file")

    for ask in (
        lambda: folder.read("file"),
        lambda: folder.info("out/file"),
        lambda: folder.put("out/new", b"x"),
        lambda: folder.move("out/file", "stolen"),
    ):
        with pytest.raises(BlobNotFound):
            await ask()
    await folder.delete(["out/file"])
    assert await paths(folder) == await paths(folder, "out") == []
    assert (tmp_path / "secret/file").read_bytes() == b"secret"


async def test_empty_folders_do_not_stay(folder, root):
    await folder.put("a/b/c.bin", b"x")
    await folder.move("a/b/c.bin", "d/e")
    await folder.delete(["d/e"])

    assert list(root.iterdir()) == []


async def test_a_file_is_synced_before_it_has_its_name_and_the_name_after(folder, monkeypatch):
    steps = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            folders.os, name, lambda *a, n=name, r=real: (steps.append(n), r(*a))[1]
        )

    await folder.put("a", b"x")

    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreUnavailable)],
)
async def test_a_put_that_fails_leaves_what_was_there(folder, monkeypatch, code, error):
    await folder.put("a/b", b"old")

    def fail(_descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(folders.os, "fsync", fail)

    with pytest.raises(error) as caught:
        await folder.put("a/b", b"new")
    assert type(caught.value) is error
    assert await folder.read("a/b") == b"old"
    assert await paths(folder) == ["a/b"]


async def test_what_a_killed_writer_left_shows_in_listings(folder, root):
    await folder.put("attempts/1/1/a", b"x")
    (root / "attempts/1/1/0123.part").write_bytes(b"half")

    assert "attempts/1/1/0123.part" in await paths(folder, "attempts/1/1")


WRITE = """
import asyncio, itertools, sys
from omma.stores.blobs import open_blobs

async def write(blobs):
    for number in itertools.count():
        await asyncio.gather(*(blobs.put(f"{number}/{each}", b"x" * 10**6) for each in "abcd"))
        print(number, flush=True)

asyncio.run(write(open_blobs(sys.argv[1])))
"""


async def test_a_writer_that_is_killed_leaves_whole_files_and_told_ones_are_there(folder, root):
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITE, str(root), stdout=asyncio.subprocess.PIPE
    )
    told = [int(await writer.stdout.readline()) for _ in range(5)]
    writer.kill()
    told += [int(line) for line in (await writer.stdout.read()).splitlines()]
    await writer.wait()

    found = {each.path: each.size_bytes async for chunk in folder.list("") for each in chunk}
    whole = {path: size for path, size in found.items() if not path.endswith(".part")}
    assert set(whole.values()) == {10**6}
    assert {f"{number}/{each}" for number in told for each in "abcd"} <= set(whole)


@pytest.mark.parametrize("url", ["http://host/folder", "s3://", "gs://bucket", "ftp://host"])
def test_a_store_that_we_do_not_speak_to_is_refused_at_start(url):
    with pytest.raises(CannotStart):
        open_blobs(url)


def test_a_folder_that_cannot_be_made_is_refused_at_start(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(CannotStart, match="cannot be kept"):
        open_blobs(str(tmp_path / "file/blobs"))


async def test_a_file_url_is_a_folder(tmp_path):
    await open_blobs(f"file://{tmp_path}/with%20space").put("a", b"x")

    assert (tmp_path / "with space/a").read_bytes() == b"x"


ASKS = {
    "put": lambda blobs: blobs.put("a", b"x"),
    "read": lambda blobs: blobs.read("a"),
    "part": lambda blobs: blobs.read("a", start=1),
    "info": lambda blobs: blobs.info("a"),
    "move": lambda blobs: blobs.move("a", "b"),
    "delete": lambda blobs: blobs.delete(["a"]),
    "list": paths,
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
async def test_a_server_that_is_not_there_is_unavailable(ask):
    access = S3Access(f"http://127.0.0.1:{unused_port()}", "us-east-1", "key", "secret", 3)

    with pytest.raises(StoreUnavailable, match="the blob store does not answer") as caught:
        await ask(open_blobs("s3://omma", access))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
async def test_a_server_that_hangs_holds_nobody_for_long(ask):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        blobs = open_blobs("s3://omma", S3Access(endpoint, "us-east-1", "key", "secret", 0.5))
        started = time.monotonic()

        with pytest.raises(StoreUnavailable):
            await ask(blobs)

        assert time.monotonic() - started < 10


async def test_a_server_that_does_not_know_the_keys_is_unavailable(s3_server, caplog):
    access = replace(s3_server.access, secret_access_key="another")  # noqa: S106

    with pytest.raises(StoreUnavailable):
        await open_blobs(f"s3://{BUCKET}", access).put("a", b"x")
    assert "privileges" in logged(caplog, "omma.stores.blobs")[0].reason


async def test_a_bucket_that_is_not_there_is_unavailable(s3_server):
    with pytest.raises(StoreUnavailable):
        await open_blobs("s3://nowhere", s3_server.access).put("a", b"x")


async def answer_full(reader, writer):
    await reader.readuntil(b"\r\n\r\nx")
    writer.write(
        b"HTTP/1.1 507 Insufficient Storage\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    await writer.drain()
    writer.close()


async def test_a_server_without_room_says_so():
    async with await asyncio.start_server(answer_full, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        access = S3Access(endpoint, "us-east-1", "key", "secret", 3)

        with pytest.raises(StoreFull):
            await open_blobs("s3://omma", access).put("a", b"x")
