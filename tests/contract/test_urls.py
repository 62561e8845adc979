"""What the guarded fetcher promises, over real connections to servers of this machine."""

import asyncio
import contextlib
import os
import ssl
from dataclasses import dataclass, field

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from omma.domain.errors import TooManyBytes, UrlDenied, UrlRefused, UrlTimeout, UrlUnreachable
from omma.stores.addresses import is_never_fetched, is_public, parse
from omma.stores.urls import FetchLimits, GuardedFetcher, system_addresses

PICTURE = b"\xff\xd8 a picture"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(PICTURE), PICTURE)
PUBLIC = "93.184.216.34"


@dataclass
class Site:
    """A server that answers each path with prepared bytes, and remembers what it was asked."""

    answers: dict = field(default_factory=lambda: {"/": OK})
    asked: list = field(default_factory=list)
    endless: bytes = b""  # repeated after the answer until the client leaves
    pause_s: float = 0.0
    port: int = 0
    connections: set = field(default_factory=set)
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader, writer):
        self.connections.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async def answer(self, reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(request)
        self.is_asked.set()
        path = request.split(b" ")[1].decode()
        writer.write(self.answers.get(path, b"HTTP/1.1 404 Not Found\r\n\r\n"))
        while self.endless:
            await writer.drain()
            writer.write(self.endless)
            await asyncio.sleep(self.pause_s)


@contextlib.asynccontextmanager
async def running(site, tls=None):
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site
        await asyncio.gather(*site.connections)  # each ends when its client has left


@pytest.fixture
async def site():
    async with running(Site()) as site:
        yield site


def fetcher(resolver=lambda _host, _port: ["127.0.0.1"], **limits):
    return GuardedFetcher(FetchLimits(**{"allow_private": True, **limits}), resolver=resolver)


async def fetch(site, path="/", *, max_bytes=1000, **limits):
    return await fetcher(**limits).fetch(f"http://here:{site.port}{path}", max_bytes=max_bytes)


def redirect(location, status=302):
    return f"HTTP/1.1 {status} Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()


async def test_a_picture_arrives_as_it_was_sent(site):
    assert await fetch(site) == PICTURE


async def test_the_host_asked_for_is_the_one_named(site):
    await fetch(site)

    assert f"host: here:{site.port}\r\n".encode() in site.asked[0].lower()


async def test_a_chunked_answer_is_joined(site):
    site.answers["/"] = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )

    assert await fetch(site) == b"abcde"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(site, status):
    site.answers["/old"] = redirect("/", status)

    assert await fetch(site, "/old") == PICTURE


async def test_redirects_are_followed_so_often_and_no_more(site):
    site.answers["/turn"] = redirect("/turn")

    with pytest.raises(UrlUnreachable, match="at most 5 redirects"):
        await fetch(site, "/turn")
    assert len(site.asked) == 6


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("ftp://here/picture", "http or https"),
        ("http://user:secret@here/", "password"),
        ("file:///etc/passwd", "http or https"),
        ("http://here:22/", "port"),
    ],
)
async def test_a_redirect_is_checked_as_the_url_was(site, location, reason):
    site.answers["/old"] = redirect(location)

    with pytest.raises(UrlRefused, match=reason):
        await fetch(site, "/old")


@pytest.mark.parametrize("host", [".x.example", "a..b", "...", "a" * 64 + ".example"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_host_that_cannot_be_a_name_is_refused(site, scheme, host):
    with pytest.raises(UrlRefused, match="labels"):
        await fetcher(timeout_s=2).fetch(f"{scheme}://{host}:{site.port}/", max_bytes=1000)


async def test_a_redirect_to_a_private_address_is_refused(site):
    site.answers["/old"] = redirect("http://metadata/latest")
    addresses = {"here": "127.0.0.1", "metadata": "169.254.169.254"}

    with pytest.raises(UrlRefused, match="'metadata' is not on a public address"):
        await fetch(site, "/old", resolver=lambda host, _port: [addresses[host]])


@pytest.mark.parametrize("status", [204, 304, 408, 425, 429, 500, 503])
async def test_what_is_no_success_and_may_pass_is_unreachable(site, status):
    site.answers["/"] = f"HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n".encode()

    with pytest.raises(UrlUnreachable):
        await fetch(site)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 451])
async def test_a_server_that_refuses_is_believed(site, status):
    site.answers["/"] = f"HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n".encode()

    with pytest.raises(UrlDenied, match=f"got status {status}"):
        await fetch(site)


@pytest.mark.parametrize("coding", ["", "identity", "Identity", "aws-chunked", "aws-chunked,"])
async def test_what_stores_keep_for_a_coding_is_none(site, coding):
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: 3\r\n\r\n"
    site.answers["/"] = head.encode() + b"cat"

    assert await fetch(site) == b"cat"


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"]
)
async def test_what_is_no_whole_http_answer_is_unreachable(site, answer):
    site.answers["/"] = answer

    with pytest.raises(UrlUnreachable):
        await fetch(site)


async def test_an_encoded_answer_is_not_unpacked(site):
    site.answers["/"] = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nbomb"

    with pytest.raises(UrlUnreachable, match="Content-Encoding"):
        await fetch(site)


async def test_a_stated_length_over_the_limit_is_not_read(site):
    with pytest.raises(TooManyBytes, match="at most 5 bytes"):
        await fetch(site, max_bytes=5)


async def test_an_endless_answer_is_left_at_the_limit(site):
    site.answers["/"] = b"HTTP/1.1 200 OK\r\n\r\n"
    site.endless = b"x" * 65536

    with pytest.raises(TooManyBytes):
        await fetch(site, max_bytes=10**6)


async def test_a_slow_drip_meets_the_deadline(site):
    site.answers["/"] = b"HTTP/1.1 200 OK\r\n\r\n"
    site.endless, site.pause_s = b"x", 0.01

    with pytest.raises(UrlTimeout, match=r"within 0\.2 s"):
        await fetch(site, timeout_s=0.2)


async def test_nobody_listening_is_unreachable(unused_tcp_port):
    with pytest.raises(UrlUnreachable, match="did not accept"):
        await fetcher().fetch(f"http://here:{unused_tcp_port}/", max_bytes=9)


async def test_the_next_address_is_tried(site):
    assert await fetch(site, resolver=lambda *_: ["127.0.0.9", "127.0.0.1"]) == PICTURE


async def test_an_unknown_name_is_unreachable():
    def nowhere(_host, _port):
        raise OSError

    with pytest.raises(UrlUnreachable, match="does not resolve"):
        await fetcher(resolver=nowhere).fetch("http://nowhere.test/", max_bytes=9)


async def test_a_name_that_changes_its_address_is_asked_once_and_refused_once(site):
    """DNS rebinding: public for the check, private for the connection."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    asked = []

    def rebinding(host, _port):
        asked.append(host)
        return next(answers)

    with pytest.raises((UrlUnreachable, UrlTimeout)):  # the public address, port and all
        await fetch(site, resolver=rebinding, allow_private=False, timeout_s=0.3)
    assert asked == ["here"]
    assert site.asked == []


async def test_one_private_address_among_public_ones_refuses_all(site):
    with pytest.raises(UrlRefused):
        await fetch(site, resolver=lambda *_: [PUBLIC, "127.0.0.1"], allow_private=False)
    assert site.asked == []


async def test_proxies_of_the_environment_are_ignored(site, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert await fetch(site) == PICTURE


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "localhost",
        "localhost.", "LOCALHOST", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
        "224.0.0.1", "255.255.255.255", "198.18.0.1", "168.63.129.16", "[fd00::1]", "[fe80::1]",
        "[ff02::1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]", "[2001:0:1::1]",
        "[::127.0.0.1]", "[fec0::1]", "[2001:db8::1]", "%31%32%37.0.0.1", "①②⑦.0.0.1",
        "127。0。0。1", "ⓛocalhost",
    ],
)  # fmt: skip
async def test_no_spelling_of_a_private_host_is_fetched(host):
    def literal_or_system(name, port):
        return system_addresses(name, port)

    private = GuardedFetcher(FetchLimits(timeout_s=2), resolver=literal_or_system)

    with pytest.raises((UrlRefused, UrlUnreachable)):
        await private.fetch(f"http://{host}:65000/", max_bytes=9)


@pytest.mark.parametrize(
    "url",
    [
        "", "picture.jpg", "//here/", "http://", "http:///picture", "ftp://here/", "file:///etc",
        "gopher://here/", "data:image/png;base64,AA==", "javascript:1", "http://user@here/",
        "http://:pw@here/", "http://here:22/", "http://here:99999/", "http://here:x/",
        "http://he re/", "http://[::1", "http://here\r\nx: y/", "unix:///var/run/docker.sock",
    ],
)  # fmt: skip
async def test_what_is_no_plain_web_address_is_refused_unresolved(url):
    def never(_host, _port):
        raise AssertionError

    with pytest.raises(UrlRefused):
        await fetcher(resolver=never).fetch(url, max_bytes=9)


async def test_the_name_decides_the_certificate_not_the_address():
    authority = trustme.CA()
    server_tls, client_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), None
    authority.issue_cert("pictures.test").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    here = GuardedFetcher(
        FetchLimits(allow_private=True), resolver=lambda *_: ["127.0.0.1"], ssl_context=client_tls
    )

    async with running(Site(), server_tls) as site:
        got = await here.fetch(f"https://pictures.test:{site.port}/", max_bytes=99)
        with pytest.raises(UrlUnreachable):
            await here.fetch(f"https://other.test:{site.port}/", max_bytes=99)

    assert got == PICTURE


class Garbling(Site):
    """Speaks TLS until it is asked, then noise in the form of a record."""

    async def answer(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        os.write(
            writer.get_extra_info("socket").fileno(), b"\x17\x03\x03\x00\x20" + b"noise..." * 4
        )


async def test_tls_that_breaks_off_is_unreachable():
    authority, client_tls = trustme.CA(), ssl.create_default_context()
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("pictures.test").configure_cert(server_tls)
    authority.configure_trust(client_tls)
    here = GuardedFetcher(
        FetchLimits(allow_private=True), resolver=lambda *_: ["127.0.0.1"], ssl_context=client_tls
    )

    async with running(Garbling(), server_tls) as site:
        with pytest.raises(UrlUnreachable):
            await here.fetch(f"https://pictures.test:{site.port}/", max_bytes=99)


async def test_a_cancelled_fetch_hangs_up(site):
    site.answers["/"], site.endless, site.pause_s = b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.01
    work = asyncio.create_task(fetch(site))
    await site.is_asked.wait()

    work.cancel()

    with pytest.raises(asyncio.CancelledError):
        await work


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_the_public_internet_is_public(address):
    assert is_public(parse(address))


@given(st.ip_addresses(v=4, network="10.0.0.0/8") | st.ip_addresses(v=4, network="127.0.0.0/8"))
def test_an_address_within_an_address_is_no_more_public(inner):
    assert not is_public(parse(f"::ffff:{inner}"))
    assert not is_public(parse(f"64:ff9b::{inner}"))
    assert not is_public(parse(f"::{inner}"))


@given(st.ip_addresses(v=4, network="169.254.0.0/16") | st.ip_addresses(v=6, network="fe80::/10"))
def test_link_local_is_refused_even_on_a_trusted_network(address):
    assert is_never_fetched(parse(str(address)))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe", "::a9fe:a9fe", "::ffff:a9fe:a9fe", "168.63.129.16",
        "64:ff9b::a83f:8110", "100.100.100.200", "192.0.0.192",
    ],
)  # fmt: skip
async def test_metadata_services_are_refused_even_on_a_trusted_network(site, address):
    with pytest.raises(UrlRefused):
        await fetch(site, resolver=lambda *_: [address])
    assert not is_public(parse(address))


@pytest.mark.parametrize("address", ["::1", "fd00::1", "10.0.0.1", "100.64.0.1", "64:ff9b::a00:1"])
def test_other_private_hosts_may_be_fetched_on_a_trusted_network(address):
    assert not is_never_fetched(parse(address))
