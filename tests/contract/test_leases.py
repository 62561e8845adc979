"""What named rights promise: one holder at a time, and nobody's for longer than it said."""

import asyncio


async def test_a_lease_is_one_holders_at_a_time(ports):
    first = await ports.leases.acquire("sweep", "a", ttl_s=10)

    second = await ports.leases.acquire("sweep", "b", ttl_s=10)

    assert (first, second) == (True, False)


async def test_leases_of_other_names_are_others(ports):
    await ports.leases.acquire("sweep", "a", ttl_s=10)

    assert await ports.leases.acquire("deliver", "b", ttl_s=10)


async def test_its_holder_prolongs_it(ports):
    await ports.leases.acquire("sweep", "a", ttl_s=10)
    ports.advance(9)

    prolonged = await ports.leases.acquire("sweep", "a", ttl_s=10)

    ports.advance(9)
    assert prolonged
    assert not await ports.leases.acquire("sweep", "b", ttl_s=10)


async def test_one_that_ran_out_is_anybodys(ports):
    await ports.leases.acquire("sweep", "a", ttl_s=10)

    ports.advance(10)

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
