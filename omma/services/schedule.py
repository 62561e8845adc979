"""When the index is rebuilt by itself: every night, once for a night that was missed."""

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from omma.domain.errors import CannotStart
from omma.domain.indexes import CARDS, Snapshot
from omma.domain.jobs import Json
from omma.ports.events import Cursors
from omma.ports.indexes import SnapshotFiles, Snapshots
from omma.ports.leases import Leases
from omma.services.importing import SOURCE as BUNDLE
from omma.services.indexes import LEASE
from omma.services.shelf import Shelf

log = logging.getLogger(__name__)

OPERATION = "index_rebuild"
CURSOR = f"nightly:{CARDS}"  # the latest due time that a rebuild was submitted for, ms since 1970

Submit = Callable[[str, Json, str], Awaitable[object]]  # operation, params, idempotency key


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times of a cron expression in a time zone.

    As in Debian's cron, what would fall into the hour that is skipped in spring runs right after
    it, and what would run twice in autumn runs once.
    """

    expression: str
    zone: ZoneInfo

    @classmethod
    def read(cls, expression: str, time_zone: str) -> Self:
        """`CannotStart` for what is no cron expression, or no time zone."""
        try:
            schedule = cls(expression, ZoneInfo(time_zone))
            schedule.upcoming(datetime.now(UTC))
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise CannotStart(
                f"expected a time zone as Europe/Berlin, got {time_zone!r}"
            ) from error
        except CronSimError as error:
            reason = f"expected a cron expression as '0 2 * * *', got {expression!r}: {error}"
            raise CannotStart(reason) from None
        except StopIteration:
            raise CannotStart(f"the cron expression {expression!r} names no day") from None
        return schedule

    def upcoming(self, now: datetime) -> datetime:
        """The first time after ``now``."""
        return next(CronSim(self.expression, now.astimezone(self.zone))).astimezone(UTC)

    def latest(self, now: datetime) -> datetime:
        """The last time before ``now``."""
        times = CronSim(self.expression, now.astimezone(self.zone), reverse=True)
        return next(times).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class NightlyPorts:
    """What is looked at before a rebuild is submitted."""

    cursors: Cursors
    snapshots: Snapshots
    files: SnapshotFiles
    leases: Leases
    submit: Submit


class Nightly:
    """Submits a durable job for each due time; the same job however often it is submitted."""

    def __init__(
        self,
        ports: NightlyPorts,
        schedule: Schedule,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ports = ports
        self._schedule = schedule
        self._clock = clock

    async def run_once(self) -> int:
        """1 where a rebuild was submitted; several missed ones are one.

        While another rebuild or an import has the lease it waits: the job would only be refused.
        """
        due = self._schedule.latest(self._clock())
        due_ms = round(due.timestamp() * 1000)
        last_ms = await self._ports.cursors.read(CURSOR)
        if last_ms is not None and last_ms < due_ms:
            if await self._ports.leases.holder(LEASE):
                return 0
            await self._ports.submit(OPERATION, {}, f"{CURSOR}:{due:%Y%m%dT%H%M%SZ}")
            log.info("submitted the nightly rebuild", extra={"due": due.isoformat()})
        if last_ms != due_ms:  # at the very first nothing was missed yet
            await self._ports.cursors.write(CURSOR, due_ms)
        return int(last_ms is not None and last_ms < due_ms)


class First:
    """Submits a rebuild while there is no snapshot that can be served, so that there is one soon.

    With ``params`` that import a bundle an import, but never over what a source was read for.
    ``publish`` takes the rebuild's place where an index comes with the package.
    """

    def __init__(
        self,
        ports: NightlyPorts,
        params: Json | None = None,
        *,
        publish: Callable[[], Awaitable[None]] | None = None,
        index_form: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ports = ports
        self._params = params or {}
        self._publish = publish
        self._shelf = Shelf(ports.snapshots, ports.files, index_form)
        self._clock = clock
        self._checked = ""  # the hour in which the published files were last looked for

    async def run_once(self) -> int:
        """Nothing more to do as soon as a snapshot is published, or somebody is at it."""
        if await self._ports.leases.holder(LEASE):
            return 0
        hour = f"{self._clock():%Y%m%dT%H}"  # of a job that failed another is submitted, hourly
        params = self._params
        if await self._ports.snapshots.published(CARDS):
            lost = None if hour == self._checked else await self._lost()
            self._checked = hour
            if lost is None:
                return 0
            log.error("the published index cannot be read", extra={"snapshot": lost.version})
            params = params if lost.report.get("source") == BUNDLE else {}
        if self._publish is not None:
            await self._publish()
            return 0
        told = blake2b(json.dumps(params, sort_keys=True).encode(), digest_size=4).hexdigest()
        await self._ports.submit(OPERATION, params, f"first:{CARDS}:{hour}:{told}")
        return 0

    async def _lost(self) -> Snapshot | None:
        """The published snapshot, where its files are gone or of a form that is not read."""
        running = await self._shelf.running()
        if running is None or await self._shelf.is_usable(running):
            return None
        return running
