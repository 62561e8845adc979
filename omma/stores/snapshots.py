"""Files of snapshots: in the blob store for all, in a folder of this machine to be read."""

import asyncio
import errno
import hashlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from omma.domain.errors import (
    BlobNotFound,
    IndexCorrupt,
    InvalidInput,
    SnapshotNotFound,
    StoreFull,
    StoreUnavailable,
)
from omma.ports.blobs import FileBlobs
from omma.stores.folders import FOLDER_MODE, FULL, RETRY_AFTER_S, checked
from omma.stores.writing import whole_file

log = logging.getLogger(__name__)

ROOT = "indexes"  # of the blob store
MANIFEST = "manifest.json"
PART = ".part"  # how the name of a copy ends that is not whole yet
SPARED_S = 600.0  # a copy asked for so lately may be about to be opened by a neighbour
THERE = {errno.ENOTEMPTY, errno.EEXIST}  # what a folder is renamed to
ABANDONED_S = 3600.0  # nobody writes any more to a copy that had nothing new for so long


class FileNote(BaseModel):
    """What a file of a snapshot has to be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: NonNegativeInt
    sha256: str


class Manifest(BaseModel):
    """Every file of a snapshot but this one, by its path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: Mapping[str, FileNote]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read and sum up every file below ``folder``; a manifest that lies there is another's."""
        mine = folder / MANIFEST
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != mine)
        return cls(files={path.relative_to(folder).as_posix(): _note(path) for path in paths})

    @classmethod
    def read(cls, data: bytes, where: str) -> Self:
        """What was written; `IndexCorrupt` for anything else, paths that lead away included."""
        try:
            manifest = cls.model_validate_json(data)
            for path in manifest.files:
                checked(path)
        except (ValidationError, InvalidInput):
            raise IndexCorrupt(f"{where} has a manifest that is none") from None
        return manifest

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(note.size_bytes for note in self.files.values())

    def written(self) -> bytes:
        """As `read` takes it."""
        return self.model_dump_json(indent=1).encode()

    def is_of(self, folder: Path) -> bool:
        """Whether all files are there in their sizes; they are not read."""
        try:
            sizes = {path: (folder / path).stat().st_size for path in self.files}
        except OSError:
            return False
        return sizes == {path: note.size_bytes for path, note in self.files.items()}


class BlobSnapshotFiles:
    """`SnapshotFiles` in a blob store, read from copies in the folder ``cache`` of this machine.

    A copy is verified once: its manifest lies beside the files only when their bytes were found
    right and are on the disk. Where the blob store is a folder of the same file system, a copy is
    hard links: it takes no room, and stays when the blobs are removed.
    """

    def __init__(self, blobs: FileBlobs, cache: Path, *, spared_s: float = SPARED_S) -> None:
        self._blobs = blobs
        self._cache = cache
        self._spared_s = spared_s

    async def put(self, name: str, version: str, folder: Path) -> int:
        where = _place(name, version)
        manifest = await asyncio.to_thread(Manifest.of, folder)
        if await self._forget_other(f"{where}/{MANIFEST}", manifest):
            return manifest.size_bytes
        for path in manifest.files:
            await self._blobs.put_file(f"{where}/{path}", folder / path)
        await self._blobs.put(f"{where}/{MANIFEST}", manifest.written())
        return manifest.size_bytes

    async def _forget_other(self, path: str, manifest: Manifest) -> bool:
        """Whether just this is there; one of other files goes before they do."""
        try:
            found = await self._blobs.read(path)
        except BlobNotFound:
            return False
        if found == manifest.written():
            return True
        await self._blobs.delete([path])
        return False

    async def fetch(self, name: str, version: str) -> Path:
        where, copy = _place(name, version), self._cache / name / version
        if await asyncio.to_thread(_is_whole, copy):
            return copy
        try:
            manifest = Manifest.read(await self._blobs.read(f"{where}/{MANIFEST}"), where)
        except BlobNotFound:
            raise SnapshotNotFound(f"{name} {version}") from None
        started = time.monotonic()
        part = copy.with_name(f"{version}.{uuid.uuid4().hex}{PART}")
        try:
            await self._copy(where, manifest, part)
            await asyncio.to_thread(_keep, part, copy, manifest)
        except OSError as error:
            raise _refused(error) from None
        finally:
            await asyncio.to_thread(shutil.rmtree, part, ignore_errors=True)
        size, took_s = manifest.size_bytes, time.monotonic() - started
        log.info("fetched a snapshot", extra={"snapshot": where, "bytes": size, "took_s": took_s})
        return copy

    async def _copy(self, where: str, manifest: Manifest, part: Path) -> None:
        for path, note in manifest.files.items():
            target = part / path
            target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            try:
                await self._blobs.get_file(f"{where}/{path}", target)
            except BlobNotFound:
                raise IndexCorrupt(f"{where} lacks its file {path!r}") from None
            if await asyncio.to_thread(_note, target) != note:
                raise IndexCorrupt(f"{where} has other bytes in {path!r} than its manifest says")

    async def delete(self, name: str, version: str) -> None:
        where = _place(name, version)
        await self._blobs.delete([f"{where}/{MANIFEST}"])
        await self._blobs.delete([path async for path in self._paths(where)])

    async def evict(self, name: str, keep: Sequence[str]) -> None:
        _place(name, "any")
        try:
            await asyncio.to_thread(self._evict, self._cache / name, set(keep))
        except OSError as error:
            raise _refused(error) from None

    def _evict(self, folder: Path, keep: set[str]) -> None:
        """Remove all that can be; then raise what was in the way of another."""
        failed: OSError | None = None
        for copy in [each for each in folder.glob("*") if each.name not in keep]:
            spared_s = ABANDONED_S if copy.name.endswith(PART) else self._spared_s
            try:
                if time.time() - _touched_at(copy) >= spared_s:
                    _remove(copy)
            except OSError as error:
                failed = error
        if failed:
            raise failed

    async def stored(self, name: str) -> list[str]:
        below = _place(name, "")
        starts = len(below) + 1
        return sorted({path[starts:].partition("/")[0] async for path in self._paths(below)})

    async def _paths(self, folder: str) -> AsyncIterator[str]:
        async for chunk in self._blobs.list(folder):
            for each in chunk:
                yield each.path


def _place(name: str, version: str) -> str:
    """Where the files lie; versions come from outside, too."""
    parts = [name, version] if version else [name]
    if any("/" in part for part in parts):
        raise InvalidInput(f"expected no slashes in {name!r} and {version!r}")
    return checked("/".join((ROOT, *parts)))


def _is_whole(copy: Path) -> bool:
    """Whether there is one, verified; it counts as used now."""
    try:
        manifest = Manifest.read((copy / MANIFEST).read_bytes(), str(copy))
        os.utime(copy)
    except (OSError, IndexCorrupt):
        return False
    return manifest.is_of(copy)


def _keep(part: Path, copy: Path, manifest: Manifest) -> None:
    """Give a verified copy its name; a neighbour may have been faster with the same."""
    part.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)  # no files, no folder yet
    with whole_file(part / MANIFEST) as written:
        written.write_bytes(manifest.written())
    while True:
        try:
            part.rename(copy)
        except OSError as error:
            if error.errno not in THERE:
                raise
            if _is_whole(copy):
                return
            _remove(copy)
        else:
            return


def _remove(copy: Path) -> None:
    """Out of the way at once; then its files, which takes a while."""
    broken = copy.with_name(f"{copy.name}.{uuid.uuid4().hex}{PART}")
    with suppress(FileNotFoundError):  # a neighbour was faster
        copy.rename(broken)
    shutil.rmtree(broken, ignore_errors=True)


def _note(path: Path) -> FileNote:
    with path.open("rb") as file:
        return FileNote(
            size_bytes=os.fstat(file.fileno()).st_size,
            sha256=hashlib.file_digest(file, "sha256").hexdigest(),
        )


def _touched_at(copy: Path) -> float:
    """When it was last used or written to; long ago where it is gone."""
    try:
        return max(each.stat().st_mtime for each in (copy, *copy.glob("*.part")))
    except OSError:
        return 0.0


def _refused(error: OSError) -> StoreUnavailable:
    if error.errno in FULL:
        return StoreFull("there is no room left for copies of snapshots", RETRY_AFTER_S)
    return StoreUnavailable(
        f"the folder for copies of snapshots cannot be used: {error.strerror}", RETRY_AFTER_S
    )
