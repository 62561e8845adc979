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

log = logging.getLogger(__name__)

AT_ONCE = 8  # pictures of one task that are fetched, or wait to be looked at
LONGEST_ERROR = 300
# What another try may mend though the picture is the same: the way to it was at fault.
PASSING = (UrlUnreachable, UrlTimeout, UrlRefused, TruncatedImage)

ShardWriter = Callable[[Path, Sequence[ItemFeatures]], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What came of one face: the row, and the features where there are any."""

    row: Extracted
    features: ItemFeatures | None = None


class Extracting:
    """Looks at one picture at a time, while further ones are being fetched."""

    def __init__(
        self,
        source: CardSource,
        engines: CardEngines,
        blobs: FileBlobs,
        write_shard: ShardWriter,
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        self._source = source
        self._engines = engines
        self._blobs = blobs
        self._write_shard = write_shard
        self._fetching = asyncio.Semaphore(at_once)
        self._looking = asyncio.Semaphore(1)  # a task is one core's

    async def extract(self, task: ExtractTask) -> list[Extracted]:
        """A row for each face but those that the source had no time for.

        `SourceUnavailable` only where that were all of them. Rows name the shard when it lies
        in the blob store, not before.
        """
        is_away = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            looks = [
                group.create_task(self._look(face, task.shard, is_away)) for face in task.faces
            ]
        seen = [found for look in looks if (found := look.result())]
        if not seen and task.faces:
            raise SourceUnavailable("the source of cards gave none of a shard's pictures")
        await self._put(task.shard, [each.features for each in seen if each.features])
        return [each.row for each in seen]

    async def _look(self, wanted: Unextracted, shard: str, is_away: asyncio.Event) -> _Seen | None:
        async with self._fetching:
            if is_away.is_set():
                return None
            try:
                image = await self._source.image(wanted.face)
                async with self._looking:
                    features = await asyncio.to_thread(self._engines.extract, image)
            except SourceUnavailable:
                is_away.set()  # who is refused once shall not go on asking
                return None
            except OmmaError as error:
                return _Seen(_failure(wanted, f"{error.code}: {error}", is_final=_is_final(error)))
            except Exception:
                extra = {"card": wanted.card_id, "face": wanted.face.number}
                log.exception("looking at a picture failed in an unforeseen way", extra=extra)
                return _Seen(_failure(wanted, "internal_error: the log says more", is_final=False))
        return _success(wanted, shard, features)

    async def _put(self, shard: str, items: Sequence[ItemFeatures]) -> None:
        if not items:
            return
        with tempfile.TemporaryDirectory(prefix="omma-shard-") as folder:
            file = Path(folder) / "shard.h5"
            await asyncio.to_thread(self._write_shard, file, items)
            await self._blobs.put_file(shard, file)


def _is_final(error: OmmaError) -> bool:
    return isinstance(error, InvalidInput | TooLarge) and not isinstance(error, PASSING)


def _success(wanted: Unextracted, shard: str, features: Features) -> _Seen:
    item = ItemId(wanted.card_id, wanted.face.number)
    row = Extracted(item, wanted.face.image_key, shard, len(features.descriptors))
    return _Seen(row, ItemFeatures(item, features, wanted.face.illustration))


def _failure(wanted: Unextracted, error: str, *, is_final: bool) -> Extracted:
    return Extracted(
        ItemId(wanted.card_id, wanted.face.number),
        wanted.face.image_key,
        error=error[:LONGEST_ERROR],
        is_final=is_final,
        tries=wanted.tries,
    )
