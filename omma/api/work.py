"""What routes that look at images share: admission, the work, and the writing of its answer."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

from fastapi import Request, Response
from pydantic import BaseModel

from omma.api.answers import as_json
from omma.api.disconnects import unless_disconnected
from omma.api.images import read_image
from omma.api.options import Context
from omma.domain.errors import OmmaError
from omma.domain.faces import Lane

Outcome = TypeVar("Outcome")


async def of_one_image(
    request: Request,
    context: Context,
    work: Callable[[bytes], Coroutine[object, object, list[Outcome | OmmaError]]],
) -> tuple[Outcome, float]:
    """What ``work`` makes of the request's one image, and the milliseconds of the whole."""
    started = time.perf_counter()
    with context.admission.admit(Lane.INTERACTIVE) as ticket:
        uploads, urls = context.options.uploads, context.services.urls
        image = await read_image(request, uploads, urls, ticket)
        [outcome] = await unless_disconnected(request, work(image))
    if isinstance(outcome, OmmaError):
        raise outcome
    return outcome, ms_since(started)


async def written(build: Callable[[], BaseModel], *, is_large: bool) -> Response:
    """The answer as JSON; a large one is written in a thread, for it would hold the event loop."""
    if not is_large:
        return as_json(build())
    return await asyncio.to_thread(lambda: as_json(build()))


def ms_since(started: float) -> float:
    """Since ``started``, of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000
