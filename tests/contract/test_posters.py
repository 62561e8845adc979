"""What every poster promises, over real connections; and what the guarded one refuses."""

import time

import pytest

from omma.domain.errors import UrlRefused, UrlTimeout, UrlUnreachable
from omma.stores.posting import GuardedPoster, PlainPoster
from tests.servers import unused_port
from tests.sites import Site, answer, running

BODY = b'{"job_id": "1"}'
HEADERS = {"content-type": "application/json", "x-omma-delivery": "1-1"}


@pytest.fixture
async def site():
    async with running(Site()) as site:
        yield site


def guarded(**options):
    options = {"timeout_s": 5, "allow_private": True, **options}
    return GuardedPoster(**{"resolver": lambda _host, _port: ["127.0.0.1"], **options})


@pytest.fixture(params=["guarded", "plain"])
def make(request):
    return (
        guarded
        if request.param == "guarded"
        else lambda timeout_s=5: PlainPoster(timeout_s=timeout_s)
    )


async def test_a_post_arrives_as_it_was_sent(site, make):
    await make().post(f"{site.url}/done?id=1", BODY, HEADERS)

    [request] = site.asked
    assert (request.method, request.path, request.body) == ("POST", "/done?id=1", BODY)
    assert request.headers["host"] == f"127.0.0.1:{site.port}"
    assert request.headers["content-length"] == str(len(BODY))
    assert {name: request.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted"])
async def test_a_success_is_one(site, make, status):
    site.default = answer(status, b"thank you")

    await make().post(site.url, BODY, HEADERS)


async def test_a_success_without_a_body_is_one(site, make):
    site.default = b"HTTP/1.1 204 No Content\r\n\r\n"

    await make().post(site.url, BODY, HEADERS)


async def test_an_endless_answer_is_not_listened_to(site, make):
    site.default = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000
    site.pause_s = 0.001

    await make(timeout_s=2).post(site.url, BODY, HEADERS)


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "500 Oops", "503 Later"])
async def test_what_is_no_success_says_its_status(site, make, status):
    site.default = answer(status)

    with pytest.raises(UrlUnreachable, match=f"got status {status[:3]}"):
        await make().post(site.url, BODY, HEADERS)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_no_redirect_is_followed(site, make, status):
    site.answers["/old"] = answer(status, location="/new")

    with pytest.raises(UrlUnreachable, match="got status 30"):
        await make().post(f"{site.url}/old", BODY, HEADERS)
    assert len(site.asked) == 1


@pytest.mark.parametrize("default", [None, b"HTTP/1.1 200"], ids=["silent", "slow"])
async def test_a_host_that_hangs_holds_nobody_for_long(site, make, default):
    site.default, site.pause_s = default, 0.2
    started = time.monotonic()

    with pytest.raises(UrlTimeout):
        await make(timeout_s=0.3).post(site.url, BODY, HEADERS)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("default", [b"", b"SSH-2.0-OpenSSH\r\n\r\n"], ids=["nothing", "ssh"])
async def test_what_is_no_http_is_unreachable(site, make, default):
    site.default = default

    with pytest.raises(UrlUnreachable):
        await make().post(site.url, BODY, HEADERS)


async def test_a_host_that_is_not_there_is_unreachable(make):
    with pytest.raises(UrlUnreachable):
        await make().post(f"http://127.0.0.1:{unused_port()}/", BODY, HEADERS)


@pytest.mark.parametrize("host", [".x.example", "a..b", "...", "a" * 64 + ".example"])
async def test_a_host_that_cannot_be_a_name_is_refused(site, host):
    with pytest.raises(UrlRefused, match="labels"):
        await guarded().post(f"https://{host}:{site.port}/", BODY, HEADERS)


async def test_a_name_that_is_too_long_is_no_fault_of_ours(make):
    with pytest.raises((UrlRefused, UrlUnreachable)):
        await make().post(f"https://{'a' * 64}.example/", BODY, HEADERS)


@pytest.mark.parametrize("url", ["ftp://host/", "file:///etc/passwd", "http://", "no url", ""])
async def test_what_is_no_url_of_ours_is_refused(make, url):
    with pytest.raises(UrlRefused):
        await make().post(url, BODY, HEADERS)


@pytest.mark.parametrize("url", ["http://user:secret@here/", "http://here:22/"])
async def test_the_guard_refuses_what_it_would_not_fetch(url):
    with pytest.raises(UrlRefused):
        await guarded().post(url, BODY, HEADERS)


async def test_the_guard_lets_nobody_reach_a_private_address(site):
    with pytest.raises(UrlRefused, match="not on a public address"):
        await guarded(allow_private=False).post(f"http://here:{site.port}/", BODY, HEADERS)
    assert not site.asked


async def test_the_guard_lets_nobody_reach_cloud_credentials_ever():
    poster = guarded(resolver=lambda _host, _port: ["169.254.169.254"])

    with pytest.raises(UrlRefused):
        await poster.post("http://metadata/", BODY, HEADERS)


async def test_the_guard_sends_the_name_that_was_named(site):
    await guarded().post(f"http://here:{site.port}/", BODY, HEADERS)

    assert site.asked[0].headers["host"] == f"here:{site.port}"


async def test_proxies_of_the_environment_are_passed_by(site, make, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")

    await make().post(site.url, BODY, HEADERS)

    assert site.asked
