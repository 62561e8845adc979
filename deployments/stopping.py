"""Learning in time that this replica shall stop."""

import asyncio

POLL_S = 0.5
# Serve tells a deployment of its end only after its last request has ended, and a stream has no
# end of its own; but Serve's own task is in sight, in the event loop that we share.
ENDING = "._perform_graceful_shutdown"


async def asked_to_stop() -> None:
    """Wait until Serve begins to shut this replica down.

    That is for ever where user code has a loop of its own: `__del__` is the first to know then.
    """
    while not _is_ending():  # noqa: ASYNC110  Serve sets no event
        await asyncio.sleep(POLL_S)


def _is_ending() -> bool:
    return any(_name(task).endswith(ENDING) for task in asyncio.all_tasks())


def _name(task: asyncio.Task[object]) -> str:
    return getattr(task.get_coro(), "__qualname__", "")
