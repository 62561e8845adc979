"""What the list of revoked tokens promises."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from omma.stores.records.database import from_ms
from omma.stores.records.tables import revoked_tokens
from omma.stores.records.tokens import SqlBlocklist

STRANGE = ["", "j" * 8000, "nul\0", "\ud800", "'; DROP TABLE jobs"]


@pytest.fixture
def blocklist(timed_database):
    return SqlBlocklist(timed_database)


@pytest.fixture
def tomorrow(clock):
    return from_ms(clock()) + timedelta(days=1)


async def test_only_what_was_revoked_is(blocklist, tomorrow):
    await blocklist.revoke("jti-1", tomorrow)

    assert await blocklist.is_revoked("jti-1")
    assert not await blocklist.is_revoked("jti-2")


async def test_to_revoke_twice_is_to_revoke(blocklist, tomorrow):
    await blocklist.revoke("jti-1", tomorrow)

    await blocklist.revoke("jti-1", tomorrow - timedelta(hours=12))

    assert await blocklist.is_revoked("jti-1")


@pytest.mark.parametrize("token_id", STRANGE)
async def test_any_text_can_be_the_id_of_a_token(blocklist, tomorrow, token_id):
    await blocklist.revoke(token_id, tomorrow)

    assert await blocklist.is_revoked(token_id)


async def test_a_token_is_remembered_past_its_end_and_not_for_ever(
    blocklist, tomorrow, clock, timed_database
):
    await blocklist.revoke("old", tomorrow)
    clock.advance(86_400 * 1.5)
    await blocklist.revoke("jti-1", tomorrow + timedelta(days=5))
    past_its_end = await blocklist.is_revoked("old")

    clock.advance(86_400)
    await blocklist.revoke("jti-2", tomorrow + timedelta(days=5))

    async with timed_database.read() as connection:
        kept = await connection.scalar(select(func.count()).select_from(revoked_tokens))
    assert (past_its_end, kept) == (True, 2)
