"""What one extract task does: fetch pictures, look at them, put what was seen as one shard."""

import asyncio
import logging
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omma.domain.cards import CardFace, Features, ItemFeatures, ItemId
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
from omma.services.leftovers import SHARDS, remove_leftovers

log = logging.getLogger(__name__)

AT_ONCE = 8  # pictures of one task that are fetched, or wait to be looked at
LONGEST_ERROR = 300
FAULTS = 8  # in a row: then a picture is asked for that the source has given before
GIVEN = 3  # pictures that are asked for then
ABANDONED_S = 3600.0  # no task writes for so long; one that was killed leaves its folder
# What another try may mend though the picture is the same: the way to it was at fault.
PASSING = (UrlUnreachable, UrlTimeout, UrlRefused, TruncatedImage)
SUSPECT = (SourceUnavailable, UrlUnreachable, UrlTimeout)  # this picture fails, or the source

ShardWriter = Callable[[Path, Sequence[ItemFeatures]], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What came of one face: the row, and the features where there are any."""

    row: Extracted
    features: ItemFeatures | None = None


class _Watch:
    """Tells a source that is away from pictures that fail each by itself, while one task runs.

    Where many fail in a row, and where the last ones do, the source has to give again what it
    gave before.
    """

    def __init__(self, source: CardSource, given: Sequence[CardFace]) -> None:
        self._source = source
        self._given = deque(given, maxlen=GIVEN)
        self._asking = asyncio.Lock()
        self.suspects: list[_Seen] = []  # pictures that failed since one came
        self.is_away = False

    def gave(self, face: CardFace) -> None:
        """Whatever failed before failed alone."""
        self._given.append(face)
        if not self.is_away:
            self.suspects.clear()

    async def failed(self, seen: _Seen) -> _Seen:
        """Over one picture; after some of them the source is not asked for the rest."""
        self.suspects.append(seen)
        await self.check(FAULTS)
        return seen

    async def check(self, least: int = 1) -> None:
        """Whether the source is there, where so many pictures have failed in a row."""
        async with self._asking:
            if len(self.suspects) < least or self.is_away:
                return
            if any(await asyncio.gather(*map(self._gives, self._given))):
                self.suspects.clear()
            else:
                self.is_away = True

    async def _gives(self, face: CardFace) -> bool:
        try:
            await self._source.image(face)
        except SUSPECT:
            return False
        except OmmaError:  # it is another picture by now, or none
            return True
        return True


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
        """A row for each face but those that a source which went away was not asked for.

        Rows name the shard when it lies in the blob store, not before.
        """
        watch = _Watch(self._source, task.given)
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(self._look(face, task.shard, watch)) for face in task.faces]
        await watch.check()
        seen = [found for look in looks if (found := look.result())]
        await self._put(task.shard, [each.features for each in seen if each.features])
        return [_doubted(each.row) if each in watch.suspects else each.row for each in seen]

    async def _look(self, wanted: Unextracted, shard: str, watch: _Watch) -> _Seen | None:
        async with self._fetching:
            if watch.is_away:
                return None
            try:
                image = await self._source.image(wanted.face)
                watch.gave(wanted.face)
                async with self._looking:
                    features = await asyncio.to_thread(self._engines.extract, image)
            except SUSPECT as error:
                is_counted = not isinstance(error, SourceUnavailable)
                failure = _failure(wanted, error, is_final=False, is_counted=is_counted)
                return await watch.failed(_Seen(failure))
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


def _doubted(row: Extracted) -> Extracted:
    """It is the source that failed, for all that is known."""
    return replace(row, is_counted=False, is_doubtful=True)


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
