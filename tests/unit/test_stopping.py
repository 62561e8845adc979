"""Serve's own shutdown, seen from within a replica."""

import asyncio

import pytest
from ray.serve._private.replica import Replica

from deployments.stopping import ENDING, asked_to_stop


class Stand:
    """Has a task of the name that Serve's has."""

    async def _perform_graceful_shutdown(self):
        await asyncio.sleep(60)


async def test_a_shutdown_that_has_begun_is_seen():
    shutdown = asyncio.create_task(Stand()._perform_graceful_shutdown())  # noqa: SLF001  ours

    async with asyncio.timeout(5):
        await asked_to_stop()

    shutdown.cancel()


def test_serve_calls_it_so():
    assert Replica._perform_graceful_shutdown.__qualname__.endswith(ENDING)  # noqa: SLF001


async def test_until_then_nobody_is_asked_to_stop():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await asked_to_stop()
