"""Work stops when nobody waits for its answer any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

Answer = TypeVar("Answer")


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of ``work``, or `ClientDisconnect` after ``work`` was cancelled and ended.

    The request's body must have been read to its end: what comes next is the disconnect.
    """
    tasks = asyncio.create_task(work), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            return tasks[0].result()
        raise ClientDisconnect
    finally:
        for task in tasks:
            task.cancel()
        # a place in work is given back only when the work has really ended
        await asyncio.gather(*tasks, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
