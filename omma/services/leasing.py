"""Work that one process does at a time, for as long as it keeps the right to."""

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from omma.domain.errors import LeaseExpired, OmmaError, RebuildRunning, StoreUnavailable
from omma.ports.leases import Leases

log = logging.getLogger(__name__)

T = TypeVar("T")

RENEWALS = 3  # within the time of a lease
TAIL = "#"  # before what tells runs of one holder apart
LONGEST_HOLDER = 80


async def under_lease(
    leases: Leases, name: str, holder: str, work: Coroutine[Any, Any, T], *, ttl_s: float
) -> T:
    """The result of ``work``, which is cancelled when the lease is lost.

    `RebuildRunning` names who has the lease; `LeaseExpired` tells that it was lost. A ``holder``
    takes over from a former run of its own, which stops if it still runs: only killed ones do not.
    """
    mine = f"{holder[:LONGEST_HOLDER]}{TAIL}{uuid.uuid4().hex[:8]}"
    try:
        await _acquire(leases, name, mine, ttl_s=ttl_s)
    except BaseException:
        work.close()
        raise
    task = asyncio.ensure_future(work)
    try:
        await _keep(leases, name, mine, task, ttl_s=ttl_s)
        return await task
    finally:
        try:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        finally:
            with suppress(OmmaError):
                await leases.release(name, mine)


async def _acquire(leases: Leases, name: str, mine: str, *, ttl_s: float) -> None:
    if await leases.acquire(name, mine, ttl_s=ttl_s):
        return
    other = await leases.holder(name)
    if other and _owner(other) == _owner(mine):  # its renewal fails then, and it stops
        await leases.release(name, other)
    if not await leases.acquire(name, mine, ttl_s=ttl_s):
        other = await leases.holder(name)
        whom = repr(_owner(other)) if other else "another process"
        raise RebuildRunning(f"{name.rpartition(':')[2]} are being rebuilt by {whom}")


def _owner(holder: str) -> str:
    return holder.rpartition(TAIL)[0] or holder


async def _keep(
    leases: Leases, name: str, mine: str, task: asyncio.Future[Any], *, ttl_s: float
) -> None:
    """Renew until ``task`` is done; raise `LeaseExpired` when the lease is another's, or nobody's.

    A database that is away for a while is no loss: the lease holds until its time is over.
    """
    renewed_at = time.monotonic()
    while not task.done():
        await asyncio.wait({task}, timeout=ttl_s / RENEWALS)
        if task.done():
            return
        asked_at = time.monotonic()
        try:
            is_ours = await leases.acquire(name, mine, ttl_s=ttl_s)
        except StoreUnavailable:
            is_ours = asked_at - renewed_at < ttl_s * (RENEWALS - 1) / RENEWALS
        else:
            renewed_at = asked_at
        if not is_ours:
            log.warning("lost the right to a rebuild", extra={"lease": name})
            raise LeaseExpired(f"the lease of {name!r} was lost")
