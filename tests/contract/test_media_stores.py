"""What every media store promises: over HTTP, in a folder, where there is none."""

import json
import os
import time
from contextlib import asynccontextmanager

import pytest

from omma.domain.errors import MediaDenied, MediaNotFound, MediaStoreUnreachable, TooManyBytes
from omma.stores.media import FolderMediaStore, HttpMediaStore, NoMediaStore
from tests.servers import unused_port
from tests.sites import Site, answer, running

PICTURE = b"\xff\xd8 a picture"
STRANGE = ["", ".", "..", "x" * 201]


@pytest.fixture
async def site():
    async with running(Site(default=answer("404 Not Found"))) as site:
        yield site


@asynccontextmanager
async def opened(site, path="", **options):
    store = HttpMediaStore(f"{site.url}{path}", **{"timeout_s": 5, **options})
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def http(site):
    async with opened(site) as store:
        yield store


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


@pytest.fixture(params=["http", "folder", "none"])
def store(request, folder):
    match request.param:
        case "http":
            return request.getfixturevalue("http")
        case "folder":
            return FolderMediaStore(folder)
        case _:
            return NoMediaStore()


@pytest.mark.parametrize(
    "media_store_id",
    [*STRANGE, "unknown", "../secret", "/etc/passwd", "a\0b", "a\nb", "ü/é\\", "%2e"],
)
async def test_what_is_not_there_is_not_found(store, media_store_id, folder):
    (folder.parent / "secret").write_bytes(b"secret")

    with pytest.raises(MediaNotFound):
        await store.fetch(media_store_id, max_bytes=100)


async def test_media_arrive_by_their_id(site, http):
    site.answers["/entity/42/file"] = answer(body=PICTURE)

    assert await http.fetch("42", max_bytes=100) == PICTURE
    assert site.asked[0].method == "GET"


async def test_the_url_may_have_a_path(site):
    site.answers["/media/api/entity/42/file"] = answer(body=PICTURE)

    async with opened(site, "/media/api/") as http:
        assert await http.fetch("42", max_bytes=100) == PICTURE


@pytest.mark.parametrize(
    ("media_store_id", "path"),
    [
        ("a/../../secret", "a%2F..%2F..%2Fsecret"),
        ("a?b#c", "a%3Fb%23c"),
        ("100%", "100%25"),
        ("%2e%2e", "%252e%252e"),
        ("ü x", "%C3%BC%20x"),
        ("a.b", "a.b"),
        ("http://host/", "http%3A%2F%2Fhost%2F"),
    ],
)
async def test_an_id_is_one_segment_of_the_path(site, http, media_store_id, path):
    site.answers[f"/entity/{path}/file"] = answer(body=PICTURE)

    assert await http.fetch(media_store_id, max_bytes=100) == PICTURE


async def test_a_result_is_posted_under_the_id(site, http):
    site.answers["/inference/results/a%2Fb"] = answer("201 Created")

    await http.post_result("a/b", {"faces": [{"confidence": 0.5}]})

    [request] = site.asked
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"faces": [{"confidence": 0.5}]}


async def fetch(http):
    await http.fetch("42", max_bytes=100)


async def post(http):
    await http.post_result("42", {})


both = pytest.mark.parametrize("ask", [fetch, post])


@both
@pytest.mark.parametrize("status", ["500 Oops", "503 Later", "403 Forbidden", "401 Who"])
async def test_what_is_no_answer_of_a_media_store_is_unreachable(site, http, ask, status):
    site.default = answer(status)

    with pytest.raises(MediaStoreUnreachable):
        await ask(http)


@pytest.mark.parametrize("status", ["400 Bad", "413 Much", "422 What", "451 Law"])
async def test_what_is_said_of_one_media_is_no_outage(site, http, status):
    site.default = answer(status)

    with pytest.raises(MediaDenied, match=f"'42' with status {status[:3]}"):
        await http.fetch("42", max_bytes=100)


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial Content"])
async def test_a_success_without_the_whole_file_is_none(site, http, status):
    site.default = f"HTTP/1.1 {status}\r\n\r\n".encode()

    with pytest.raises(MediaStoreUnreachable, match=status[:3]):
        await http.fetch("42", max_bytes=100)


@both
async def test_no_redirect_is_followed(site, http, ask):
    site.default = answer("302 Found", location="http://127.0.0.1:1/")

    with pytest.raises(MediaStoreUnreachable, match="status 302"):
        await ask(http)


@both
@pytest.mark.parametrize("default", [None, answer(body=b"x" * 50)], ids=["silent", "slow"])
async def test_one_that_hangs_holds_nobody_for_long(site, ask, default):
    site.default, site.pause_s = default, 0.02
    started = time.monotonic()

    async with opened(site, timeout_s=0.3) as http:
        with pytest.raises(MediaStoreUnreachable, match=r"within 0\.3 s"):
            await ask(http)
    assert time.monotonic() - started < 10


@both
@pytest.mark.parametrize("default", [b"", b"SSH-2.0-OpenSSH\r\n\r\n"], ids=["nothing", "ssh"])
async def test_what_is_no_http_is_unreachable(site, http, ask, default):
    site.default = default

    with pytest.raises(MediaStoreUnreachable):
        await ask(http)


@both
async def test_one_that_is_not_there_is_unreachable(ask):
    async with opened(Site(port=unused_port())) as http:
        with pytest.raises(MediaStoreUnreachable):
            await ask(http)


async def test_one_that_breaks_off_is_unreachable(site, http):
    site.default = answer(body=PICTURE, content_length=99)

    with pytest.raises(MediaStoreUnreachable):
        await http.fetch("42", max_bytes=100)


@pytest.mark.parametrize(
    "default",
    [
        answer(body=b"x" * 11),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 11,
        answer(body=b"", content_length=10**12),
    ],
    ids=["announced", "unannounced", "boasting"],
)
async def test_more_bytes_than_the_limit_are_not_taken(site, http, default):
    site.default = default

    with pytest.raises(TooManyBytes):
        await http.fetch("42", max_bytes=10)


async def test_a_compressed_answer_that_nobody_asked_for_is_not_opened(site, http):
    site.default = answer(body=b"bomb", content_encoding="gzip")

    with pytest.raises(MediaStoreUnreachable, match="Content-Encoding"):
        await http.fetch("42", max_bytes=10)
    assert site.asked[0].headers["accept-encoding"] == "identity"


async def test_one_that_recovers_is_used_again(site, http):
    site.default = answer("500 Oops")
    with pytest.raises(MediaStoreUnreachable):
        await http.fetch("42", max_bytes=100)
    site.default = answer(body=PICTURE)

    assert await http.fetch("42", max_bytes=100) == PICTURE


async def test_proxies_of_the_environment_are_passed_by(site, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    site.default = answer(body=PICTURE)

    async with opened(site) as http:
        assert await http.fetch("42", max_bytes=100) == PICTURE


@pytest.mark.parametrize(
    ("name", "media_store_id"),
    [("42", "42"), ("42.jpg", "42"), ("42.jpg", "42.jpg"), ("a.b.png", "a.b"), ("[x].gif", "[x]")],
)
async def test_a_file_is_found_by_its_name_or_without_its_suffix(folder, name, media_store_id):
    (folder / name).write_bytes(PICTURE)
    (folder / "42.b.jpg").write_bytes(b"another")
    (folder / "x.gif").write_bytes(b"another")

    assert await FolderMediaStore(folder).fetch(media_store_id, max_bytes=100) == PICTURE


async def test_hidden_files_folders_and_pipes_are_no_media(folder):
    (folder / ".env").write_bytes(b"secret")
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe")

    for media_store_id in (".env", "sub", "pipe"):
        with pytest.raises(MediaNotFound):
            await FolderMediaStore(folder).fetch(media_store_id, max_bytes=100)


async def test_a_file_over_the_limit_is_not_read(folder):
    (folder / "42.jpg").write_bytes(b"x" * 11)

    with pytest.raises(TooManyBytes):
        await FolderMediaStore(folder).fetch("42", max_bytes=10)


async def test_a_file_that_cannot_be_read_is_unreachable(folder, monkeypatch):
    (folder / "42.jpg").write_bytes(b"x")

    def fail(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", fail)

    with pytest.raises(MediaStoreUnreachable, match="Permission denied"):
        await FolderMediaStore(folder).fetch("42", max_bytes=10)


async def test_a_folder_takes_results_in_silence(folder):
    await FolderMediaStore(folder).post_result("42", {})

    assert list(folder.iterdir()) == []


async def test_a_media_store_that_is_configured_no_more_takes_no_results():
    with pytest.raises(MediaStoreUnreachable, match="not configured"):
        await NoMediaStore().post_result("42", {})
