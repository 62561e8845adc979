"""Posts on their way: how many at once, and whose."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable

from omma.ports.deliveries import Delivered, Delivery, DeliveryKind, Shares, origin_of

LIMIT = 64  # at once
OF_OWNER, OF_ORIGIN = 16, 8  # of these, so that one that hangs leaves room for others
STEP = 4  # of one owner or origin, taken by one look


class Window:
    """The posts of one kind that are on their way, each with a task of its own."""

    def __init__(self, kind: DeliveryKind) -> None:
        self._kind = kind
        self._posts: dict[asyncio.Task[Delivered], Delivery] = {}

    @property
    def room(self) -> int:
        """How many more may begin."""
        return LIMIT - len(self._posts)

    @property
    def shares(self) -> Shares:
        """Of whom more may begin; the media store is one place, which is not slower for one."""
        posts = [delivery.job.asked for delivery in self._posts.values()]
        owners = _full((asked.owner for asked in posts), OF_OWNER)
        origins: Collection[str] = ()
        if self._kind is DeliveryKind.CALLBACK:
            origins = _full((origin_of(asked.callback_url) for asked in posts), OF_ORIGIN)
        return Shares((self._kind,), STEP, owners, origins)

    @property
    def ended(self) -> list[asyncio.Task[Delivered]]:
        """Those whose outcome is there and not yet recorded."""
        return [task for task in self._posts if task.done()]

    def begin(self, delivery: Delivery, task: asyncio.Task[Delivered]) -> None:
        """``task`` is this delivery's post."""
        self._posts[task] = delivery

    async def one_has_ended(self, patience_s: float) -> bool:
        """Wait for one, but no longer than that; False when none is on its way."""
        if self._posts:
            await asyncio.wait(self._posts, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(self._posts)

    def forget(self, tasks: Iterable[asyncio.Task[Delivered]]) -> None:
        """Their outcomes are recorded."""
        for task in tasks:
            del self._posts[task]

    async def abandon(self) -> None:
        """End them all; who takes them when their leases have ended sends them again."""
        tasks = list(self._posts)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._posts.clear()


def _full(names: Iterable[str], most: int) -> list[str]:
    return [name for name, count in Counter(names).items() if count > most - STEP]
