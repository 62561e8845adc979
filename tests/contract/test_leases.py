"""What named rights promise: one holder at a time, and nobody's for longer than it said."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis

from omma.domain.errors import CannotStart, StoreUnavailable
from omma.stores.leases import PREFIX, RedisLeases
from tests.databases import KINDS
from tests.redis_servers import redis_url, start_redis
from tests.servers import unused_port
from tests.small_records import opened_ports

__all__ = ["redis_url", "start_redis"]


@pytest.fixture(params=["memory", *KINDS, "redis"])
async def ports(request, clock):
    """Leases, and ``advance`` for their clock."""
    if request.param == "redis":
        opening = in_redis(request.getfixturevalue("redis_url"))
    else:
        opening = opened_ports(request.param, request, clock)
    async with opening as opened:
        yield opened


@asynccontextmanager
async def in_redis(url):
    """Leases of an empty Redis, whose keys age at a word."""
    leases, redis = RedisLeases(url), Redis.from_url(url)
    await redis.flushall()

    async def age(seconds):
        for key in await redis.keys(f"{PREFIX}*"):
            await redis.pexpire(key, await redis.pttl(key) - round(seconds * 1000))

    yield SimpleNamespace(leases=leases, advance=age)
    await leases.close()
    await redis.aclose()


async def advance(ports, seconds):
    if aging := ports.advance(seconds):
        await aging


async def test_a_lease_is_one_holders_at_a_time(ports):
    first = await ports.leases.acquire("sweep", "a", ttl_s=10)

    second = await ports.leases.acquire("sweep", "b", ttl_s=10)

    assert (first, second) == (True, False)


async def test_leases_of_other_names_are_others(ports):
    await ports.leases.acquire("sweep", "a", ttl_s=10)

    assert await ports.leases.acquire("deliver", "b", ttl_s=10)


async def test_its_holder_prolongs_it(ports):
    await ports.leases.acquire("sweep", "a", ttl_s=10)
    await advance(ports, 9)

    prolonged = await ports.leases.acquire("sweep", "a", ttl_s=10)

    await advance(ports, 9)
    assert prolonged
    assert not await ports.leases.acquire("sweep", "b", ttl_s=10)


async def test_one_that_ran_out_is_anybodys(ports):
    await ports.leases.acquire("sweep", "a", ttl_s=10)

    await advance(ports, 10)

    assert await ports.leases.acquire("sweep", "b", ttl_s=10)
    assert not await ports.leases.acquire("sweep", "a", ttl_s=10)


async def test_one_given_back_is_anybodys_at_once(ports):
    await ports.leases.acquire("sweep", "a", ttl_s=10)

    await ports.leases.release("sweep", "a")

    assert await ports.leases.acquire("sweep", "b", ttl_s=10)


async def test_nobody_gives_back_what_another_holds(ports):
    await ports.leases.acquire("sweep", "a", ttl_s=10)

    await ports.leases.release("sweep", "b")

    assert not await ports.leases.acquire("sweep", "b", ttl_s=10)


async def test_of_twenty_who_ask_at_once_one_gets_it(ports):
    asked = [ports.leases.acquire("sweep", str(n), ttl_s=10) for n in range(20)]

    assert sum(await asyncio.gather(*asked)) == 1


async def test_a_lease_tells_its_holder_until_it_ends(ports):
    await ports.leases.acquire("sweep", "a", ttl_s=10)

    held = await ports.leases.holder("sweep")

    await advance(ports, 10)
    assert held == "a"
    assert await ports.leases.holder("sweep") is None
    assert await ports.leases.holder("deliver") is None


async def test_a_holder_that_renews_late_finds_it_taken(ports):
    await ports.leases.acquire("sweep", "a", ttl_s=10)
    await advance(ports, 11)
    await ports.leases.acquire("sweep", "b", ttl_s=10)

    renewed = await ports.leases.acquire("sweep", "a", ttl_s=10)
    await ports.leases.release("sweep", "a")

    assert not renewed
    assert not await ports.leases.acquire("sweep", "c", ttl_s=10)


async def test_a_redis_that_went_away_is_unavailable(start_redis):
    server = start_redis()
    leases = RedisLeases(server.url)
    await leases.acquire("sweep", "a", ttl_s=10)
    server.close()

    with pytest.raises(StoreUnavailable, match="the leases, does not answer"):
        await leases.acquire("sweep", "a", ttl_s=10)
    with pytest.raises(StoreUnavailable):
        await leases.release("sweep", "a")
    await leases.close()


async def test_a_redis_that_nobody_runs_is_unavailable():
    leases = RedisLeases(f"redis://127.0.0.1:{unused_port()}/0")

    with pytest.raises(StoreUnavailable):
        await leases.acquire("sweep", "a", ttl_s=10)


async def test_a_wrong_password_is_told_apart(start_redis):
    server = start_redis(password="right")  # noqa: S106  the test's own
    leases = RedisLeases(server.url.replace("right", "wrong"))

    with pytest.raises(StoreUnavailable, match="refuses us"):
        await leases.acquire("sweep", "a", ttl_s=10)
    await leases.close()


def test_what_is_no_url_of_redis_stops_the_start():
    with pytest.raises(CannotStart, match="of the leases"):
        RedisLeases("http://redis")
