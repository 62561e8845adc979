"""Keys that an issuer publishes, keys that we make, and what is remembered of tokens."""

import asyncio
import json
import logging
import stat

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from omma.domain.errors import CannotStart, StoreUnavailable, TokenInvalid
from omma.domain.tokens import SUPPORT
from omma.stores.tokens.issuing import Grant, issue, make_keys, read_private_key
from omma.stores.tokens.keys import FixedKeys, Key, read_public_key, secret_key
from omma.stores.tokens.published import PublishedKeys
from omma.stores.tokens.reading import Rules, TokenReader
from omma.stores.tokens.recent import Recent
from tests.logged import messages
from tests.token_fakes import PRIVATE, SECRET, es256, hs256

URL = "https://issuer.test/keys"
NEW = ec.generate_private_key(ec.SECP256R1())


def key_set(**keys):
    public = {
        kid: json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
        for kid, key in keys.items()
    }
    return json.dumps({"keys": [{**each, "kid": kid} for kid, each in public.items()]})


class Issuer:
    """Answers with a key set, or not at all; counts how often it is asked."""

    def __init__(self):
        self.text = key_set(first=PRIVATE)
        self.status = 200
        self.fault = None
        self.asked = 0
        self.is_asked = asyncio.Event()
        self.gate = None

    async def __call__(self, request):
        del request
        self.asked += 1
        self.is_asked.set()
        if self.gate:
            await self.gate.wait()
        if self.fault:
            raise self.fault
        return httpx.Response(self.status, text=self.text)


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def clock():
    """Seconds in a list, which tests move on."""
    return [1000.0]


@pytest.fixture
def published(issuer, clock):
    return PublishedKeys(URL, transport=httpx.MockTransport(issuer), clock=lambda: clock[0])


@pytest.fixture
def read(published):
    return TokenReader([published], Rules()).read


async def test_the_issuers_keys_are_fetched_once(read, issuer):
    for _ in range(3):
        assert (await read(es256(kid="first"))).subject == "ada"

    assert issuer.asked == 1


async def test_who_comes_together_shares_one_fetch(read, issuer):
    issuer.gate = asyncio.Event()
    waiting = [asyncio.create_task(read(es256(kid="first"))) for _ in range(5)]
    await issuer.is_asked.wait()

    issuer.gate.set()

    assert {(await each).subject for each in waiting} == {"ada"}
    assert issuer.asked == 1


async def test_a_token_without_a_key_id_is_held_against_every_key(read, issuer):
    issuer.text = key_set(other=NEW, first=PRIVATE)

    assert (await read(es256())).subject == "ada"


async def test_a_new_key_is_found_but_unknown_ones_ask_once_a_minute(read, issuer, clock):
    await read(es256(kid="first"))
    issuer.text = key_set(first=PRIVATE, second=NEW)

    with pytest.raises(TokenInvalid):  # asked a moment ago
        await read(es256(key=NEW, kid="second"))
    clock[0] += 60
    for number in range(20):
        with pytest.raises(TokenInvalid):
            await read(es256(key=NEW, kid=f"made up {number}"))

    assert (await read(es256(key=NEW, kid="second"))).subject == "ada"
    assert issuer.asked == 2


@pytest.mark.parametrize(
    "change",
    [
        {"status": 500},
        {"status": 302},
        {"text": "<html>"},
        {"text": '{"keys":[]}'},
        {"text": "x" * 300_000},
        {"fault": httpx.ConnectError("down")},
        {"fault": httpx.ReadTimeout("slow")},
        {"fault": OSError("odd")},
    ],
    ids=range(8),
)
async def test_the_last_keys_serve_while_the_issuer_is_down(read, issuer, clock, caplog, change):
    await read(es256(kid="first"))
    for name, value in change.items():
        setattr(issuer, name, value)
    clock[0] += 3600

    with pytest.raises(TokenInvalid), caplog.at_level(logging.WARNING):
        await read(es256(key=NEW, kid="second"))

    assert (await read(es256(kid="first"))).subject == "ada"
    assert messages(caplog, "omma.stores.tokens") == ["could not read the issuer's keys"]


async def test_nobody_is_believed_before_the_issuer_has_answered(read, issuer, clock):
    issuer.status = 503
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await read(es256(kid="first"))
    assert issuer.asked == 1

    issuer.status = 200
    clock[0] += 5

    assert (await read(es256(kid="first"))).subject == "ada"


async def test_a_key_that_is_withdrawn_is_forgotten(published, issuer, clock):
    await published.keys("ES256", "first")
    issuer.text = key_set(second=NEW)
    clock[0] += 600

    await published.keys("ES256", "first")  # asks, without waiting for the answer

    assert await published.keys("ES256", "second")
    assert await published.keys("ES256", "first") == []


async def test_who_goes_away_does_not_stop_the_fetch_for_others(read, issuer):
    issuer.gate = asyncio.Event()
    first, second = (asyncio.create_task(read(es256(kid="first"))) for _ in range(2))
    await issuer.is_asked.wait()

    first.cancel()
    issuer.gate.set()

    assert (await second).subject == "ada"
    assert first.cancelled()


async def test_tokens_of_other_algorithms_never_ask_the_issuer(read, issuer):
    with pytest.raises(TokenInvalid):
        await read(hs256())

    assert issuer.asked == 0


async def test_a_configured_key_serves_while_the_issuer_is_down(published, issuer):
    issuer.status = 500
    here = FixedKeys([Key("ES256", NEW.public_key())])

    assert (await TokenReader([here, published], Rules()).read(es256(key=NEW))).subject == "ada"


@pytest.fixture
def pair(tmp_path):
    private, public = tmp_path / "keys" / "private.pem", tmp_path / "keys" / "public.pem"
    make_keys(private, public)
    return private, public


@pytest.mark.parametrize("shared", [False, True])
async def test_a_token_of_ours_is_believed(pair, shared):
    private, public = pair
    grant = Grant("ada", (SUPPORT,), is_admin=True, issuer="us", audience="omma")
    key = secret_key(SECRET) if shared else read_public_key(public)
    reader = TokenReader([FixedKeys([key])], Rules("us", "omma"))

    bearer = await reader.read(issue(grant, key.material if shared else read_private_key(private)))

    assert (bearer.subject, bearer.permissions) == ("ada", {SUPPORT})
    assert bearer.is_admin
    assert len(bearer.token_id) == 32


def test_the_private_key_is_for_our_eyes_only(pair):
    private, public = pair

    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"PRIVATE" not in public.read_bytes()


@pytest.mark.parametrize("lost", [0, 1])
def test_keys_that_are_there_are_never_overwritten(pair, lost):
    pair[lost].unlink()
    [kept] = [path for path in pair if path.exists()]
    before = kept.read_bytes()

    with pytest.raises(FileExistsError):
        make_keys(*pair)

    assert kept.read_bytes() == before
    assert not pair[lost].exists()


def test_a_token_that_no_server_would_take_is_not_issued():
    for grant in (Grant(""), Grant("x" * 201), Grant("a\nb"), Grant("ada", ("x" * 200,) * 50)):
        with pytest.raises(TokenInvalid):
            issue(grant, SECRET.encode())


def test_a_public_key_signs_nothing(pair):
    with pytest.raises(CannotStart, match="not a private key"):
        read_private_key(pair[1])


def test_keys_and_secrets_are_not_shown():
    assert SECRET not in repr(secret_key(SECRET))


def test_what_is_remembered_is_little_and_not_for_long(clock):
    recent = Recent(ttl_s=2, size=2, clock=lambda: clock[0])
    for key in (b"a", b"b", b"c"):
        recent.put(key, key)

    assert [recent.get(key) for key in (b"a", b"b", b"c")] == [None, b"b", b"c"]
    clock[0] += 2
    assert recent.get(b"c") is None
