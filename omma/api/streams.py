"""What event streams and sockets share: they run until the first of several things ends them."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from omma.domain.tokens import Principal

FAREWELL_S = 1.0  # for the last words to a client that may no longer listen


async def first_of(*work: Coroutine[Any, Any, None]) -> None:
    """Run all of them until one ends; raises what that one raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def expiry(principal: Principal | None) -> None:
    """Wait until the token that opened a stream would open none any more, if one did."""
    if principal is None or principal.expires_at is None:
        await asyncio.Event().wait()
    else:
        left = principal.expires_at - datetime.now(UTC)
        await asyncio.sleep(max(0.0, left.total_seconds()))
