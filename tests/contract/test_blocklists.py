"""Every `Blocklist` keeps to its port, and none lets anybody in while it cannot be read."""

import contextlib
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from omma.domain.errors import CannotStart, StoreUnavailable
from omma.stores.records.tokens import SqlBlocklist
from omma.stores.tokens.recent import RecentBlocklist
from omma.stores.tokens.redis import KEPT_S, RedisBlocklist
from tests.redis_servers import redis_url, start_redis
from tests.servers import unused_port
from tests.token_fakes import MemoryBlocklist

__all__ = ["redis_url", "start_redis"]

LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
async def redis(redis_url):
    async with contextlib.aclosing(Closing(redis_url)) as blocklist:
        yield blocklist


class Closing(RedisBlocklist):
    aclose = RedisBlocklist.close


@pytest.fixture(params=["memory", "recent", "redis", "sqlite", "postgresql"])
def blocklist(request):
    match request.param:
        case "memory":
            return MemoryBlocklist()
        case "recent":
            return RecentBlocklist(MemoryBlocklist())
        case "redis":
            return request.getfixturevalue("redis")
        case "sqlite":
            return SqlBlocklist(request.getfixturevalue("sqlite_database"))
        case _:
            return SqlBlocklist(request.getfixturevalue("postgres_database"))


@pytest.fixture
def token_id():
    return uuid.uuid4().hex


async def test_a_token_is_good_until_it_is_revoked(blocklist, token_id):
    before = await blocklist.is_revoked(token_id)

    await blocklist.revoke(token_id, LATER)

    assert (before, await blocklist.is_revoked(token_id)) == (False, True)


async def test_others_stay_good(blocklist, token_id):
    await blocklist.revoke(token_id, LATER)

    assert not await blocklist.is_revoked(token_id + "0")


async def test_revoking_twice_is_revoking_once(blocklist, token_id):
    await blocklist.revoke(token_id, LATER)
    await blocklist.revoke(token_id, LATER)

    assert await blocklist.is_revoked(token_id)


@pytest.mark.parametrize("strange", ["x" * 200, "ä ' \" % _ \\ ;", "00000000"])
async def test_any_text_may_be_an_id(blocklist, strange):
    await blocklist.revoke(strange, LATER)

    assert await blocklist.is_revoked(strange)


async def test_a_token_that_has_expired_may_be_revoked_all_the_same(blocklist, token_id):
    await blocklist.revoke(token_id, datetime.now(UTC) - timedelta(days=1))

    assert isinstance(await blocklist.is_revoked(token_id), bool)


async def test_redis_forgets_well_after_the_token_has_expired(redis, redis_url, token_id):
    await redis.revoke(token_id, datetime.now(UTC) + timedelta(seconds=100))

    with contextlib.closing(Redis.from_url(redis_url)) as client:
        assert KEPT_S < client.ttl(token_id) <= 100 + KEPT_S


async def test_redis_holds_what_an_authentication_service_has_written(redis, redis_url, token_id):
    with contextlib.closing(Redis.from_url(redis_url)) as client:
        client.set(token_id, "", ex=60)

    assert await redis.is_revoked(token_id)


async def test_redis_takes_a_password_by_its_url(start_redis, token_id):
    server = start_redis(password="open-sesame")  # noqa: S106

    async with contextlib.aclosing(Closing(server.url)) as blocklist:
        await blocklist.revoke(token_id, LATER)

        assert await blocklist.is_revoked(token_id)


async def test_redis_that_refuses_us_is_unavailable(start_redis, token_id):
    server = start_redis(password="another")  # noqa: S106
    wrong = server.url.replace("another", "wrong")

    async with contextlib.aclosing(Closing(wrong)) as blocklist:
        with pytest.raises(StoreUnavailable, match="refuses us"):
            await blocklist.is_revoked(token_id)


async def test_redis_that_is_gone_is_unavailable_and_may_come_back(start_redis, token_id):
    server = start_redis()

    async with contextlib.aclosing(Closing(server.url)) as blocklist:
        assert not await blocklist.is_revoked(token_id)
        server.close()
        with pytest.raises(StoreUnavailable):
            await blocklist.is_revoked(token_id)
        with pytest.raises(StoreUnavailable):
            await blocklist.revoke(token_id, LATER)


async def test_redis_that_was_never_there_is_unavailable(token_id):
    async with contextlib.aclosing(Closing(f"redis://127.0.0.1:{unused_port()}/0")) as blocklist:
        with pytest.raises(StoreUnavailable):
            await blocklist.is_revoked(token_id)


def test_an_address_that_is_not_redis_is_refused_without_its_password():
    with pytest.raises(CannotStart) as caught:
        RedisBlocklist("memcached://:hunter2@host")

    assert "hunter2" not in str(caught.value)


async def test_another_list_is_asked_once_a_second_about_one_token(token_id):
    now = [0.0]
    inner = MemoryBlocklist()
    recent = RecentBlocklist(inner, clock=lambda: now[0])

    await recent.is_revoked(token_id)
    await inner.revoke(token_id, LATER)
    at_once = await recent.is_revoked(token_id)
    now[0] = 1.0
    a_second_later = await recent.is_revoked(token_id)

    assert (at_once, a_second_later) == (False, True)
    assert inner.asked == [token_id, token_id]


async def test_what_is_revoked_here_is_refused_here_at_once(token_id):
    recent = RecentBlocklist(MemoryBlocklist())
    await recent.is_revoked(token_id)

    await recent.revoke(token_id, LATER)

    assert await recent.is_revoked(token_id)


async def test_a_fault_is_not_remembered(token_id):
    inner = MemoryBlocklist()
    recent = RecentBlocklist(inner)
    inner.fault = StoreUnavailable("gone")
    with pytest.raises(StoreUnavailable):
        await recent.is_revoked(token_id)

    inner.fault = None

    assert not await recent.is_revoked(token_id)
