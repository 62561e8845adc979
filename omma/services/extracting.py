"""What one extract task does: fetch pictures, look at them, put what was seen as one shard."""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omma.domain.cards import Features, ItemFeatures, ItemId
from omma.domain.errors import (
    InvalidInput,
    OmmaError,
    SourceFault,
    SourceUnavailable,
    TooLarge,
    TruncatedImage,
    UrlRefused,
    UrlTimeout,
    UrlUnreachable,
)
from omma.ports.blobs import FileBlobs
from omma.ports.cards import CardEngines, CardSource, Extracted, Unextracted
from omma.ports.indexes import ExtractTask
from omma.services.leftovers import SHARDS, remove_leftovers

log = logging.getLogger(__name__)

AT_ONCE = 8  # pictures of one task that are fetched, or wait to be looked at
LONGEST_ERROR = 300
FAULTS = 8  # in a row: then the source is at fault, not its pictures
ABANDONED_S = 3600.0  # no task writes for so long; one that was killed leaves its folder
# What another try may mend though the picture is the same: the way to it was at fault.
PASSING = (UrlUnreachable, UrlTimeout, UrlRefused, TruncatedImage)

ShardWriter = Callable[[Path, Sequence[ItemFeatures]], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What came of one face: the row, and the features where there are any."""

    row: Extracted
    features: ItemFeatures | None = None


@dataclass(slots=True)
class _Source:
    """How the source does while one task runs."""

    is_away: bool = False
    faults: int = 0  # since the last picture that it gave

    def failed(self) -> None:
        """Over one picture; after some of them it is not asked for the rest."""
        self.faults += 1
        self.is_away = self.is_away or self.faults >= FAULTS


class Extracting:
    """Looks at one picture at a time, while further ones are being fetched."""

    def __init__(
        self,
        source: CardSource,
        engines: CardEngines,
        blobs: FileBlobs,
        write_shard: ShardWriter,
        *,
        work: Path,
    ) -> None:
        self._source = source
        self._engines = engines
        self._blobs = blobs
        self._write_shard = write_shard
        self._work = work
        self._fetching = asyncio.Semaphore(AT_ONCE)
        self._looking = asyncio.Semaphore(1)  # a task is one core's

    async def extract(self, task: ExtractTask) -> list[Extracted]:
        """A row for each face but those that the source had no time for.

        `SourceUnavailable` only where that were all of them. Rows name the shard when it lies
        in the blob store, not before.
        """
        source = _Source()
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(self._look(face, task.shard, source)) for face in task.faces]
        seen = [found for look in looks if (found := look.result())]
        if not seen and task.faces:
            raise SourceUnavailable("the source of cards gave none of a shard's pictures")
        await self._put(task.shard, [each.features for each in seen if each.features])
        return [each.row for each in seen]

    async def _look(self, wanted: Unextracted, shard: str, source: _Source) -> _Seen | None:
        async with self._fetching:
            if source.is_away:
                return None
            try:
                image = await self._source.image(wanted.face)
                source.faults = 0
                async with self._looking:
                    features = await asyncio.to_thread(self._engines.extract, image)
            except SourceFault as error:
                source.failed()
                return _Seen(_failure(wanted, error, is_final=False, is_counted=False))
            except SourceUnavailable:
                source.is_away = True  # who is refused once shall not go on asking
                return None
            except OmmaError as error:
                return _Seen(_failure(wanted, error, is_final=_is_final(error)))
            except Exception:
                extra = {"card": wanted.card_id, "face": wanted.face.number}
                log.exception("looking at a picture failed in an unforeseen way", extra=extra)
                return _Seen(_failure(wanted, OmmaError("the log says more"), is_final=False))
        return _success(wanted, shard, features)

    async def _put(self, shard: str, items: Sequence[ItemFeatures]) -> None:
        if not items:
            return
        with await asyncio.to_thread(_folder, self._work) as folder:
            file = Path(folder) / "shard.h5"
            await asyncio.to_thread(self._write_shard, file, items)
            await self._blobs.put_file(shard, file)


def _folder(work: Path) -> tempfile.TemporaryDirectory[str]:
    """One of this task's own; those of tasks that were killed on this machine go."""
    work.mkdir(parents=True, exist_ok=True)
    remove_leftovers(work, SHARDS, older_than_s=ABANDONED_S)
    return tempfile.TemporaryDirectory(prefix=SHARDS, dir=work)


def _is_final(error: OmmaError) -> bool:
    return isinstance(error, InvalidInput | TooLarge) and not isinstance(error, PASSING)


def _success(wanted: Unextracted, shard: str, features: Features) -> _Seen:
    item = ItemId(wanted.card_id, wanted.face.number)
    row = Extracted(item, wanted.face.image_key, shard, len(features.descriptors))
    return _Seen(row, ItemFeatures(item, features, wanted.face.illustration))


def _failure(
    wanted: Unextracted, error: OmmaError, *, is_final: bool, is_counted: bool = True
) -> Extracted:
    return Extracted(
        ItemId(wanted.card_id, wanted.face.number),
        wanted.face.image_key,
        error=f"{error.code}: {error}"[:LONGEST_ERROR],
        is_final=is_final,
        tries=wanted.tries,
        is_counted=is_counted,
    )
