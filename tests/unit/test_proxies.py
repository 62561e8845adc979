"""What goes through the proxies that the environment names, and what never does."""

import os
from contextlib import suppress

import grpc
import httpx
import pytest

from omma.client import Client, ClientError
from omma.domain.errors import BlobNotFound, ModelUnfetchable, OmmaError, StoreUnavailable
from omma.domain.hosts import NEAR, unproxied
from omma.stores.blobs import S3Access, open_blobs
from omma.stores.sources.files import HttpsSource
from omma.stores.tokens.published import PublishedKeys
from omma.stores.web import Again, PatientClient
from tests.proxies import RecordingProxy
from tests.sites import Site, answer, running

EXCEPTIONS = ("no_proxy", "NO_PROXY", "grpc_proxy", "no_grpc_proxy")


@pytest.fixture
def proxy(monkeypatch):
    with RecordingProxy() as proxy:
        for name, value in proxy.environ.items():
            monkeypatch.setenv(name, value)
        for name in EXCEPTIONS:
            monkeypatch.delenv(name, raising=False)
        yield proxy


@pytest.fixture
async def site():
    async with running(Site(default=answer("404 Not Found"))) as site:
        yield site


@pytest.fixture
def excepted(proxy, monkeypatch):
    """The proxy, in the environment as the command and the instance make it."""
    for name, value in unproxied(os.environ).items():
        monkeypatch.setenv(name, value)
    return proxy


@pytest.mark.parametrize(
    ("given", "excepted"),
    [
        ({}, NEAR),
        ({"NO_PROXY": "a.example, "}, ("a.example", *NEAR)),
        ({"no_proxy": "b", "NO_PROXY": "a"}, ("b", *NEAR)),
        ({"no_proxy": "*"}, ("*",)),
    ],
)
def test_what_is_excepted_stays_and_loopback_joins_it(given, excepted):
    made = unproxied(given)

    assert made == {**dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(excepted)), "grpc_proxy": ""}
    assert unproxied(made) == made


async def test_the_client_asks_its_own_machine_directly(proxy, site):
    async with Client(site.url) as client:
        with pytest.raises(ClientError):
            await client.health()

    assert ([each.path for each in site.asked], proxy.asked) == (["/health"], [])


async def test_the_client_asks_another_machine_as_the_environment_says(proxy):
    async with Client("http://omma.example", busy_retries=0) as client:
        with pytest.raises(ClientError):
            await client.health()

    assert proxy.asked == ["GET http://omma.example/health HTTP/1.1"]


async def test_an_issuer_on_this_machine_is_asked_directly(proxy, site):
    with pytest.raises(StoreUnavailable):
        await PublishedKeys(f"{site.url}/jwks").keys("ES256", None)

    assert ([each.path for each in site.asked], proxy.asked) == (["/jwks"], [])


async def test_files_on_this_machine_are_asked_for_directly(excepted, site):
    access = S3Access(endpoint=site.url, access_key_id="a", secret_access_key="b")  # noqa: S106

    with pytest.raises(BlobNotFound):
        await open_blobs("s3://bucket", access).info("x")

    assert ([each.method for each in site.asked], excepted.asked) == (["HEAD"], [])


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])  # the second leads nowhere
async def test_grpc_of_the_cluster_goes_through_none(excepted, host):
    async with grpc.aio.insecure_channel(f"{host}:9") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/omma/none")(b"", timeout=1)

    assert excepted.asked == []


async def test_sources_go_through_the_proxy(excepted, tmp_path):
    client = PatientClient("https://cards.example/")
    with suppress(Again, OmmaError, httpx.HTTPError):
        async with client.stream("https://cards.example/bulk"):
            pass
    await client.close()
    with pytest.raises(ModelUnfetchable):
        HttpsSource().download("//models.example/m", tmp_path, size_bytes=1, progress=print)

    assert [each.rpartition(" ")[0] for each in excepted.asked] == [
        "CONNECT cards.example:443",
        "CONNECT models.example:443",
    ]


async def test_a_source_on_this_machine_goes_through_none(proxy, unused_tcp_port):
    client = PatientClient(f"https://127.0.0.1:{unused_tcp_port}/")
    with suppress(Again, OmmaError, httpx.HTTPError):
        async with client.stream(f"https://127.0.0.1:{unused_tcp_port}/bulk"):
            pass
    await client.close()

    assert proxy.asked == []
