"""What a session promises: whoever knows its id leaves a result, or reads it, in time."""

import asyncio
import uuid

import pytest

from omma.domain.errors import QuotaExceeded, SessionNotFound
from omma.ports.sessions import SessionState


@pytest.fixture
def create(stores):
    async def create(owner="ada", ttl_s=60, max_open=10, max_own=10):
        return await stores.sessions.create(owner, ttl_s=ttl_s, max_open=max_open, max_own=max_own)

    return create


async def test_a_session_waits_until_its_result_is_there(stores, create):
    session = await create()
    before = await stores.sessions.result(session)

    await stores.sessions.submit(session, {"name": "Opt\0", "prices": {"usd": None}})

    assert before == SessionState("waiting")
    done = SessionState("done", {"name": "Opt\0", "prices": {"usd": None}})
    assert await stores.sessions.result(session) == done


async def test_an_empty_result_is_a_result(stores, create):
    session = await create()

    await stores.sessions.submit(session, {})

    assert await stores.sessions.result(session) == SessionState("done", {})


async def test_a_later_picture_takes_the_place_of_the_first(stores, create):
    session = await create()

    await stores.sessions.submit(session, {"n": 1})
    await stores.sessions.submit(session, {"n": 2})

    assert await stores.sessions.result(session) == SessionState("done", {"n": 2})


async def test_ids_cannot_be_guessed(create):
    ids = [await create() for _ in range(3)]

    assert len(set(ids)) == 3
    assert {uuid.UUID(each).version for each in ids} == {4}


@pytest.mark.parametrize("session", ["", "x", str(uuid.UUID(int=0)), "\0", "\ud800", "x" * 10_000])
async def test_a_session_that_nobody_opened_is_not_found(stores, create, session):
    await create()

    with pytest.raises(SessionNotFound):
        await stores.sessions.result(session)
    with pytest.raises(SessionNotFound):
        await stores.sessions.submit(session, {})


async def test_one_whose_time_is_over_is_not_found(stores, create):
    session = await create(ttl_s=60)
    stores.advance(60)

    with pytest.raises(SessionNotFound):
        await stores.sessions.submit(session, {})
    with pytest.raises(SessionNotFound):
        await stores.sessions.result(session)


async def test_no_more_are_open_than_there_may_be(stores, create):
    for _ in range(2):
        await create(ttl_s=60, max_open=2)

    with pytest.raises(QuotaExceeded):
        await create(max_open=2)
    stores.advance(60)

    assert await create(max_open=2)


async def test_no_owner_opens_more_than_its_part(stores, create):
    for _ in range(2):
        await create(ttl_s=60, max_own=2)

    with pytest.raises(QuotaExceeded):
        await create(max_own=2)
    assert await create("bob", max_own=2)
    stores.advance(60)
    assert await create(max_own=2)


async def test_those_who_open_at_once_all_get_their_own(create):
    assert len(set(await asyncio.gather(*[create() for _ in range(10)]))) == 10


async def test_expired_ones_are_forgotten_a_few_at_a_time(stores, create):
    for _ in range(3):
        await create(ttl_s=60)
    stores.advance(30)
    kept = await create(ttl_s=60)
    stores.advance(30)

    counts = [await stores.sessions.expire(2) for _ in range(3)]

    assert counts == [2, 1, 0]
    assert await stores.sessions.result(kept) == SessionState("waiting")
