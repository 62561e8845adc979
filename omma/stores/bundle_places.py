"""Where bundles are found: in a folder, in a zip, or at the URL of one."""

import asyncio
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from omma.domain.errors import (
    IndexCorrupt,
    MediaNotFound,
    SourceCorrupt,
    TooManyBytes,
    UrlRefused,
    UrlUnreachable,
)
from omma.stores.bundles import FEATURES, IDS, INDEX, BundleFeatures
from omma.stores.downloads import Downloads
from omma.stores.web import Patience, PatientClient
from omma.stores.writing import whole_file

WEB = ("http://", "https://")
MAX_BYTES = 64 * 1024**3  # of a zip, and of the features in it
SPARE_BYTES = 1 << 28  # of the disk, left to others
AS_IT_IS = {"accept-encoding": "identity"}  # zips are packed already
DOWNLOADED = "bundle"
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


async def open_bundle(
    where: str, work: Path, *, downloads: Path, patience: Patience | None = None
) -> BundleFeatures:
    """The features of the bundle at ``where``; what is unpacked lies in ``work`` while it is read.

    A URL of a folder ends with a slash. What is downloaded lies in ``downloads``, a folder that
    stays: the next call goes on. `MediaNotFound`, `SourceUnavailable`, `SourceCorrupt`,
    `IndexCorrupt`, `TooManyBytes`.
    """
    if where.startswith(WEB):
        url = where + FEATURES if where.endswith("/") else where
        return await _open_from_web(url, work, downloads, patience)
    return await asyncio.to_thread(_open, Path(where.removeprefix("file://")), work)


def pack_bundle(folder: Path, target: Path) -> None:
    """The files of the bundle in ``folder`` as one zip."""
    with whole_file(target) as written, zipfile.ZipFile(written, "w") as zipped:
        for name in (FEATURES, INDEX, IDS):
            if (folder / name).is_file():
                zipped.write(folder / name, name)


async def _open_from_web(
    url: str, work: Path, folder: Path, patience: Patience | None
) -> BundleFeatures:
    client = PatientClient(url, patience=patience)
    downloads = Downloads(client, folder, AS_IT_IS)
    try:
        path = await downloads.fetch(DOWNLOADED, url, max_bytes=MAX_BYTES)
        return await asyncio.to_thread(_open, path, work)
    except IndexCorrupt:
        downloads.drop(DOWNLOADED)  # the next call is to fetch it anew
        raise
    except (UrlRefused, UrlUnreachable) as error:
        raise SourceCorrupt(f"the bundle leads astray: {error}") from None
    finally:
        await client.close()


def _open(place: Path, work: Path) -> BundleFeatures:
    if place.is_dir():
        place /= FEATURES
    if not place.is_file():
        raise MediaNotFound(f"no bundle at {str(place)!r}")
    if not zipfile.is_zipfile(place):
        return BundleFeatures(place)
    return BundleFeatures(_unpacked(place, work))


def _unpacked(packed: Path, work: Path) -> Path:
    """The file of features, wherever in the zip it lies: the zip does not say where it goes to."""
    work.mkdir(parents=True, exist_ok=True)
    target = work / FEATURES
    try:
        with zipfile.ZipFile(packed) as zipped:
            member = _member(zipped)
            room = min(MAX_BYTES, shutil.disk_usage(work).free - SPARE_BYTES)
            if member.file_size > room:
                raise TooManyBytes(f"expected at most {room} bytes, got {member.file_size}")
            with (
                _opened(zipped, member) as source,  # ends at the size stated, and checks the sum
                whole_file(target) as written,
                written.open("wb") as sink,
            ):
                shutil.copyfileobj(source, sink, 1 << 20)
    except BROKEN_ZIP as error:
        raise IndexCorrupt(f"the zip cannot be unpacked: {error}") from None
    return target


def _opened(zipped: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return zipped.open(member)
    except OSError as error:  # its place, as the zip states it, is before the beginning
        raise IndexCorrupt(f"the zip cannot be unpacked: {error}") from None


def _member(zipped: zipfile.ZipFile) -> zipfile.ZipInfo:
    found = [each for each in zipped.infolist() if PurePosixPath(each.filename).name == FEATURES]
    if len(found) != 1:
        raise IndexCorrupt(f"expected one {FEATURES} in the zip, got {len(found)}")
    return found[0]
