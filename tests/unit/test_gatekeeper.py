"""Who is let in, and how often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omma.domain.errors import RateLimited, TokenInvalid, TokenMissing
from omma.domain.tokens import DEMO, SUPPORT, Principal
from omma.services import tokens
from omma.services.tokens import Buckets, Gatekeeper, RateLimits, bearer

LIMITS = RateLimits(requests_per_s=2, burst=3)


class Names:
    """A verifier that takes every token for its bearer's name."""

    async def verify(self, token):
        if token == "bad":  # noqa: S105
            raise TokenInvalid("bad")
        return Principal(token, frozenset({SUPPORT}))


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def gate(clock):
    return Gatekeeper(Names(), LIMITS, clock=lambda: clock[0])


async def admitted(gate, name, times):
    return [(await gate.admit(name)).subject for _ in range(times)]


@pytest.mark.parametrize("token", [None, "", "anything"])
async def test_without_a_verifier_everybody_is_the_demo_user(token):
    gate = Gatekeeper(None, LIMITS)

    assert {await gate.admit(token) for _ in range(50)} == {DEMO}


@pytest.mark.parametrize("token", [None, ""])
async def test_with_one_a_token_is_asked_for(gate, token):
    with pytest.raises(TokenMissing, match="Authorization: Bearer"):
        await gate.admit(token)


async def test_a_burst_is_let_in_and_then_the_rate_holds(gate, clock):
    await admitted(gate, "ada", 3)

    with pytest.raises(RateLimited) as caught:
        await gate.admit("ada")
    clock[0] += 0.5
    await gate.admit("ada")
    with pytest.raises(RateLimited):
        await gate.admit("ada")

    assert caught.value.retry_after_s == 1


async def test_asking_too_often_does_not_put_off_the_next_turn(gate, clock):
    await admitted(gate, "ada", 3)
    for tenth in range(1, 5):
        clock[0] = tenth / 10
        with pytest.raises(RateLimited):
            await gate.admit("ada")

    clock[0] = 0.5

    assert await admitted(gate, "ada", 1)


async def test_one_subject_costs_another_nothing(gate):
    await admitted(gate, "ada", 3)

    assert await admitted(gate, "bob", 3) == ["bob"] * 3


async def test_a_bad_token_costs_nobody_anything(gate):
    for _ in range(20):
        with pytest.raises(TokenInvalid):
            await gate.admit("bad")

    assert await admitted(gate, "ada", 3)


def test_memory_is_bounded_however_many_come(monkeypatch, clock):
    monkeypatch.setattr(tokens, "REMEMBERED", 3)
    buckets = Buckets(LIMITS, lambda: clock[0])

    for number in range(50):
        buckets.take(f"subject {number}")

    assert len(buckets) == 3


def test_a_slow_rate_says_how_long_to_wait(clock):
    buckets = Buckets(RateLimits(0.1, 1), lambda: clock[0])
    buckets.take("ada")

    with pytest.raises(RateLimited) as caught:
        buckets.take("ada")

    assert caught.value.retry_after_s == 10


@given(st.lists(st.floats(0, 5), max_size=60))
def test_no_subject_gets_more_than_its_share(pauses):
    now, granted = 0.0, 0
    buckets = Buckets(LIMITS, lambda: now)

    for pause in pauses:
        now += pause
        try:
            buckets.take("ada")
        except RateLimited:
            continue
        granted += 1

    assert granted <= LIMITS.burst + LIMITS.requests_per_s * now + 1e-6


HEADERS = {
    "Bearer abc": "abc", "bearer abc": "abc", "BEARER  abc ": "abc", "Bearer": "", "Bearer ": "",
    "Basic abc": None, "abc": None, "": None, "Bearerabc": None, "Bearer\tabc": None,
}  # fmt: skip


@pytest.mark.parametrize(("header", "token"), HEADERS.items())
def test_the_token_is_what_follows_bearer(header, token):
    assert bearer([header]) == token


def test_no_header_is_no_token():
    assert bearer([]) is None


def test_two_headers_are_refused():
    with pytest.raises(TokenInvalid):
        bearer(["Bearer a", "Bearer b"])
