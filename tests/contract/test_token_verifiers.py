"""Tokens: who is believed, and what becomes of everything else."""

import base64
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from omma.domain.errors import (
    CannotStart,
    OmmaError,
    RefreshToken,
    StoreUnavailable,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
    Unauthorized,
)
from omma.domain.tokens import LONGEST_TOKEN, SUPPORT
from omma.settings import AuthSettings
from omma.stores.tokens.opening import open_keys, open_verifier
from tests.token_fakes import (
    PRIVATE,
    SECRET,
    MemoryBlocklist,
    claims,
    es256,
    hs256,
    public_pem,
    user_claims,
)

STRANGER = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "public.pem"
    path.write_bytes(public_pem())
    return path


@pytest.fixture(scope="module")
def key_set(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    path.write_text(json.dumps({"keys": [jwk("first"), {"kty": "RSA", "n": "1", "e": "AQAB"}]}))
    return str(path)


@pytest.fixture(params=["pem", "jwks", "both kinds"])
def es256_trust(request, pem, key_set):
    """Settings under which our ES256 tokens are trusted."""
    match request.param:
        case "pem":
            return AuthSettings(public_key_path=pem)
        case "jwks":
            return AuthSettings(jwks=key_set)
        case _:
            return AuthSettings(public_key_path=pem, secret=SecretStr(SECRET))


@pytest.fixture
def trust(pem):
    return AuthSettings(public_key_path=pem, secret=SecretStr(SECRET))


@pytest.fixture
def blocklist():
    return MemoryBlocklist()


@pytest.fixture
def verify(trust, blocklist):
    return open_verifier(trust, blocklist).verify


def jwk(kid, key=PRIVATE):
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    return {**public, "kid": kid, "alg": "ES256", "use": "sig"}


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_by_hand(header, payload, secret=b""):
    """A token of our secret whose parts no library would write."""
    parts = f"{encoded(header)}.{encoded(payload)}"
    return f"{parts}.{encoded(hmac.digest(secret or SECRET.encode(), parts.encode(), 'sha256'))}"


def hs256_saying(payload):
    return signed_by_hand(b'{"alg":"HS256","typ":"JWT"}', payload)


async def test_a_token_of_the_jobs_service_names_its_bearer(es256_trust, blocklist):
    token = es256(claims(sub="ada", is_admin=True, jti="t"))

    bearer = await open_verifier(es256_trust, blocklist).verify(token)

    assert (bearer.subject, bearer.permissions) == ("ada", {SUPPORT})
    assert (bearer.is_admin, bearer.token_id) == (True, "t")


async def test_a_token_of_the_classification_service_names_its_bearer(verify):
    bearer = await verify(hs256())

    assert (bearer.subject, bearer.user_uid, bearer.token_id) == ("ada", "ada", "token-1")
    assert (bearer.permissions, bearer.is_admin) == (frozenset(), False)


async def test_a_key_id_that_the_configured_key_does_not_have_is_no_hindrance(verify):
    assert (await verify(es256(kid="whatever"))).subject == "ada"


async def test_a_token_that_was_seen_before_is_answered_alike(verify):
    token = es256()

    assert await verify(token) == await verify(token)


async def test_a_revoked_token_is_refused_even_when_it_was_seen_before(verify, blocklist):
    for token in (hs256(), es256(claims(jti="token-1"))):
        await verify(token)
    blocklist.revoked.add("token-1")

    for token in (hs256(), es256(claims(jti="token-1"))):
        with pytest.raises(TokenRevoked, match="This token is invalid or has been revoked"):
            await verify(token)


async def test_a_token_without_an_id_is_on_no_list(verify, blocklist):
    blocklist.fault = StoreUnavailable("gone")

    assert (await verify(es256())).subject == "ada"


async def test_nobody_is_let_in_while_revocations_cannot_be_read(verify, blocklist):
    token = hs256()
    await verify(token)
    blocklist.fault = StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable):
        await verify(token)


async def test_a_refresh_token_is_not_an_access_token(verify):
    for token in (hs256(user_claims(refresh=True)), es256(claims(refresh=True))):
        with pytest.raises(RefreshToken, match="Please provide an access token"):
            await verify(token)


SOON, AGO = int(time.time()) + 3600, int(time.time()) - 3600
WRONG_TIMES = [{"exp": AGO}, {"nbf": SOON}, {"iat": SOON}, {"exp": 0}, {"exp": AGO + 0.5}]


@pytest.mark.parametrize("times", WRONG_TIMES)
async def test_a_token_out_of_its_time_is_refused(verify, times):
    for token in (es256(claims(**times)), hs256(user_claims(**times))):
        with pytest.raises(TokenExpired):
            await verify(token)


async def test_clocks_may_differ_by_the_leeway(pem, blocklist):
    verify = open_verifier(AuthSettings(public_key_path=pem, leeway_s=7200), blocklist).verify

    assert await verify(es256(claims(exp=AGO, nbf=SOON, iat=SOON)))


WRONG_CLAIMS = [
    {"exp": None}, {"exp": "4102444800"}, {"exp": True}, {"exp": [4102444800]}, {"exp": -1},
    {"exp": 10**15}, {"exp": 10**400}, {"nbf": "0"}, {"iat": {}},
    {"permissions": SUPPORT}, {"permissions": {SUPPORT: True}}, {"permissions": [1]},
    {"permissions": [""]}, {"is_admin": "true"}, {"is_admin": 1}, {"refresh": "false"},
    {"jti": 7}, {"jti": ""}, {"jti": "x" * 201}, {"sub": 7}, {"sub": ["ada"]}, {"sub": ""},
    {"sub": "x" * 201}, {"sub": "a\0b"}, {"sub": "a\nb"}, {"sub": "\ud800"},
    {"user": "ada"}, {"user": {"user_uid": 7}}, {"iss": 7}, {"aud": 7}, {"aud": [7]},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_CLAIMS, ids=str)
async def test_a_claim_of_another_type_than_documented_is_refused(verify, wrong):
    for token in (
        es256_saying({**claims(), **wrong}), hs256_saying(dumped({**user_claims(), **wrong}))
    ):  # fmt: skip
        with pytest.raises(TokenInvalid):
            await verify(token)


def dumped(payload):
    return json.dumps(
        {name: value for name, value in payload.items() if value is not None}
    ).encode()


def es256_saying(payload):
    return jwt.PyJWS().encode(dumped(payload), PRIVATE, "ES256")


@pytest.mark.parametrize("missing", ["exp", "jti", "user"])
async def test_a_claim_that_must_be_there_is_missed(verify, missing):
    with pytest.raises(TokenInvalid):
        await verify(hs256(user_claims(**{missing: None})))


async def test_a_token_that_names_nobody_is_refused(verify):
    with pytest.raises(TokenInvalid):
        await verify(es256(claims(sub=None)))


ODD_JSON = [
    b"", b"null", b"[]", b"7", b'"x"', b"{", b'{"exp":NaN}', b'{"exp":Infinity}', b'{"exp":1e999}',
    b"[" * 4000, b'{"a":' * 1000, b"\xff\xfe{}", b'{"sub":"\\ud800","exp":9999999999}',
    b"9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_JSON, ids=range(len(ODD_JSON)))
async def test_odd_json_in_a_token_is_refused(verify, odd):
    payload = json.dumps(user_claims()).encode()

    for token in (hs256_saying(odd), signed_by_hand(odd, payload)):
        with pytest.raises(TokenInvalid):
            await verify(token)


ODD_HEADERS = [
    {"alg": "none"}, {"alg": "None"}, {"alg": ""}, {"alg": None}, {"alg": 7}, {"alg": ["HS256"]},
    {"alg": "hs256"}, {"alg": "HS512"}, {"alg": "RS256"}, {"alg": "ES384"}, {},
    {"alg": "HS256", "crit": ["exp"]}, {"alg": "HS256", "crit": []},
    {"alg": "HS256", "crit": ["b64"], "b64": False}, {"alg": "HS256", "b64": True},
    {"alg": "HS256", "kid": 7}, {"alg": "HS256", "kid": {"$ne": ""}},
]  # fmt: skip


@pytest.mark.parametrize("header", ODD_HEADERS, ids=str)
async def test_a_header_that_is_not_understood_is_refused(verify, header):
    token = signed_by_hand(json.dumps(header).encode(), json.dumps(user_claims()).encode())

    with pytest.raises(TokenInvalid):
        await verify(token)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "ES256"])
async def test_a_token_that_nobody_signed_is_refused(verify, algorithm):
    header = json.dumps({"alg": algorithm}).encode()
    parts = f"{encoded(header)}.{encoded(json.dumps(claims()).encode())}"

    for token in (f"{parts}.", parts, f"{parts}.{encoded(b'x' * 64)}"):
        with pytest.raises(TokenInvalid):
            await verify(token)


@pytest.mark.parametrize("secret", [public_pem(), public_pem().strip()])
async def test_the_public_key_is_no_shared_secret(es256_trust, blocklist, secret):
    header, payload = b'{"alg":"HS256"}', json.dumps(user_claims()).encode()
    token = signed_by_hand(header, payload, secret)

    with pytest.raises(TokenInvalid):
        await open_verifier(es256_trust, blocklist).verify(token)


async def test_a_key_the_header_brings_along_is_not_used(verify):
    brought = {"jwk": jwk("x", STRANGER), "jku": "https://evil.test/keys", "x5u": "file:///etc"}

    with pytest.raises(TokenInvalid):
        await verify(es256(key=STRANGER, **brought))


async def test_a_token_of_a_stranger_is_refused(verify):
    for token in (es256(key=STRANGER), hs256(secret="another " * 4)):
        with pytest.raises(TokenInvalid):
            await verify(token)


async def test_a_token_of_another_curve_is_refused(verify):
    key = ec.generate_private_key(ec.SECP384R1())

    with pytest.raises(TokenInvalid):
        await verify(jwt.encode(claims(), key, "ES384"))


@pytest.mark.parametrize("kind", [es256, hs256])
async def test_a_token_with_too_many_or_too_few_parts_is_refused(verify, kind):
    token = kind()
    first, second, third = token.split(".")

    for wrong in (
        f"{token}.{token}", f"{token}.{third}", f"{first}.{token}", f"{first}.{second}",
        f"{first}..{third}", f".{second}.{third}", token + ".", f"{token}=", f" {token}",
        f"{token}\n", f"{token}!",
    ):  # fmt: skip
        with pytest.raises(TokenInvalid):
            await verify(wrong)


async def test_one_signature_has_one_spelling(verify):
    token = hs256()  # 32 bytes: the last character has two bits that say nothing
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]

    with pytest.raises(TokenInvalid):
        await verify(other)


async def test_a_token_that_is_too_long_is_refused_unread(verify):
    token = es256(claims(padding="x" * LONGEST_TOKEN))

    with pytest.raises(TokenInvalid, match=str(LONGEST_TOKEN)):
        await verify(token)


@pytest.mark.parametrize("audience", [None, "others", ["others"], []])
async def test_issuer_and_audience_are_required_where_they_are_set(pem, blocklist, audience):
    trust = AuthSettings(public_key_path=pem, issuer="us", audience="omma")
    verify = open_verifier(trust, blocklist).verify

    assert await verify(es256(claims(iss="us", aud=["others", "omma"])))
    assert await verify(es256(claims(iss="us", aud="omma")))
    for wrong in (
        claims(iss="us", aud=audience), claims(iss="them", aud="omma"), claims(aud="omma")
    ):  # fmt: skip
        with pytest.raises(TokenInvalid):
            await verify(es256(wrong))


async def test_a_token_for_somebody_else_is_refused_where_no_audience_is_set(verify):
    with pytest.raises(TokenInvalid):
        await verify(es256(claims(aud="others")))


TOKENS = [es256(), hs256(), es256(kid="first")]


@st.composite
def mutated(draw):
    token = draw(st.sampled_from(TOKENS))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(token)))
        to = draw(st.integers(at, min(len(token), at + 40)))
        put = draw(st.text(max_size=8) | st.sampled_from(["", ".", "=", "A", "\0", token]))
        token = token[:at] + put + token[to:]
    return token


async def outcome(verify, token):
    try:
        return await verify(token)
    except OmmaError as error:
        return error


@given(mutated() | st.text(max_size=200) | st.binary(max_size=200).map(bytes.hex))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_comes_it_is_a_true_token_or_unauthorized(trust, token):
    verify = open_verifier(trust, MemoryBlocklist()).verify

    match await outcome(verify, token):
        case OmmaError() as error:
            assert isinstance(error, Unauthorized)
            assert len(token) < 20 or token not in str(error)
        case _:
            assert token in TOKENS


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(
        ["sub", "user", "permissions", "is_admin", "refresh", "jti", "exp", "nbf", "iss", "aud"]
    ),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_a_signed_claim_says_there_is_an_answer(trust, value, name):
    payload = json.dumps({**user_claims(), name: value}).encode()
    verify = open_verifier(trust, MemoryBlocklist()).verify

    match await outcome(verify, hs256_saying(payload)):
        case OmmaError() as error:
            assert isinstance(error, Unauthorized | RefreshToken)
        case bearer:
            assert 1 <= len(bearer.subject) <= 200


def test_a_private_key_is_not_taken_for_a_public_one(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n")

    with pytest.raises(CannotStart, match="holds a private key"):
        open_keys(AuthSettings(public_key_path=path))


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=["P-384", "RSA"],
)
def test_a_key_of_another_kind_is_refused_at_the_start(tmp_path, key):
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(key))

    with pytest.raises(CannotStart, match="P-256"):
        open_keys(AuthSettings(public_key_path=path))


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_a_file_without_a_key_is_refused_at_the_start(tmp_path, text):
    path = tmp_path / "key.pem"
    path.write_text(text)

    with pytest.raises(CannotStart, match="not a public key"):
        open_keys(AuthSettings(public_key_path=path))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"keys":[]}', '{"keys":7}', '{"keys":[7]}', "[" * 9999,
     json.dumps({"keys": [{**jwk("x"), "use": "enc"}]}),
     json.dumps({"keys": [{**jwk("x"), "x": "AA"}]}),
     json.dumps({"keys": [jwk(str(n)) for n in range(33)]})],
    ids=range(10),
)  # fmt: skip
def test_a_key_set_without_a_key_for_us_is_refused_at_the_start(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)

    with pytest.raises(CannotStart):
        open_keys(AuthSettings(jwks=str(path)))


@pytest.mark.parametrize("secret", ["short", "x" * 31])
def test_a_secret_that_can_be_guessed_is_refused_at_the_start(secret):
    with pytest.raises(CannotStart, match="at least 32 bytes"):
        open_keys(AuthSettings(secret=SecretStr(secret)))


def test_a_public_key_is_refused_as_a_secret():
    with pytest.raises(CannotStart, match="PEM"):
        open_keys(AuthSettings(secret=SecretStr(public_pem().decode())))


def test_an_algorithm_without_its_key_is_refused_at_the_start(pem):
    open_keys(AuthSettings(public_key_path=pem, algorithm="ES256"))
    with pytest.raises(CannotStart, match="HS256 needs a shared secret"):
        open_keys(AuthSettings(public_key_path=pem, algorithm="HS256"))
