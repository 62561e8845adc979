"""Where servers that the operator chose may lead us, and where they may not."""

import httpx
import pytest

from omma.domain.errors import UrlRefused
from omma.stores import web
from omma.stores.web import Origins

OUTSIDE, INSIDE = "93.184.215.14", "10.1.2.3"
NAMES = {
    "api.cards.example": OUTSIDE,
    "pictures.example": OUTSIDE,
    "inside.example": INSIDE,
    "mirror.lan": INSIDE,
    "0x7f000001.example": OUTSIDE,
}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    monkeypatch.setattr(web, "getproxies", dict)


def origins(url="https://api.cards.example/"):
    asked = []

    def resolve(host, _port):
        asked.append(host)
        if host not in NAMES:
            raise OSError(host)
        return [NAMES[host]]

    found = Origins(url, resolver=resolve)
    return found, asked


async def lead(found, url):
    await found.require_public(found.check(url))


@pytest.mark.parametrize(
    "url",
    [
        "https://api.cards.example:8443/x",
        "https://pictures.example/x",
        "https://0x7f000001.example/x",
        "https://nowhere.example/x",  # the connection says that itself
    ],
)
async def test_hosts_of_the_internet_are_asked_by_https(url):
    found, _ = origins()

    await lead(found, url)


@pytest.mark.parametrize(
    "url",
    [
        "http://pictures.example/x",
        "http://api.cards.example/x",
        "https://10.1.2.3/x",
        f"https://{OUTSIDE}/x",
        "https://[::1]/x",
        "https://[::ffff:10.1.2.3]/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://inside.example/x",
        "https://mirror.lan:2375/x",
    ],
)
async def test_addresses_and_hosts_within_are_refused(url):
    found, _ = origins()

    with pytest.raises(UrlRefused):
        await lead(found, url)


async def test_a_source_without_https_leads_to_its_own_port_alone():
    found, _ = origins("http://127.0.0.1:8080/cards")

    await lead(found, "http://127.0.0.1:8080/x")
    for url in ("http://127.0.0.1:6379/x", "http://127.0.0.1/x", "http://localhost:8080/x"):
        with pytest.raises(UrlRefused):
            found.check(url)


@pytest.mark.parametrize("own", ["https://10.1.2.3/", "https://mirror.lan/"])
async def test_a_source_within_may_lead_to_others_within(own):
    found, _ = origins(own)

    await lead(found, "https://10.1.2.3/x")
    await lead(found, "https://inside.example/x")


@pytest.mark.parametrize("own", ["https://10.1.2.3/", "https://mirror.lan/"])
async def test_no_source_leads_to_where_clouds_keep_their_keys(own):
    found, _ = origins(own)

    with pytest.raises(UrlRefused):
        await lead(found, "https://169.254.169.254/latest")


async def test_a_host_is_looked_up_once_for_many_pictures():
    found, asked = origins()

    for number in range(3):
        await lead(found, f"https://pictures.example/{number}")

    assert asked == ["pictures.example"]


async def test_behind_a_proxy_the_proxy_looks_names_up(monkeypatch):
    monkeypatch.setattr(web, "getproxies", lambda: {"https": "http://proxy:3128"})
    monkeypatch.setattr(web, "proxy_bypass", lambda host: host.endswith(".lan"))
    found, asked = origins()

    await lead(found, "https://inside.example/x")
    with pytest.raises(UrlRefused):
        await lead(found, "https://mirror.lan/x")
    assert asked[:1] == ["mirror.lan"]


async def test_a_source_without_https_asks_no_proxy_either(monkeypatch):
    monkeypatch.setattr(web, "getproxies", lambda: {"https": "http://proxy:3128"})
    found, _ = origins("http://api.cards.example/")

    with pytest.raises(UrlRefused):
        await lead(found, "https://inside.example/x")


def test_redirects_are_read_from_where_they_were_found():
    found, _ = origins()

    url = found.check("/b", httpx.URL("https://pictures.example/a"))

    assert str(url) == "https://pictures.example/b"
