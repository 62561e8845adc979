"""Which files a command line means."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = {
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".heic", ".heif", ".avif"),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A file to send, and the name it keeps under another folder."""

    path: Path
    name: Path  # relative to the argument that led here


def find_pictures(arguments: Iterable[str]) -> list[Picture]:
    """Files as named, folders with all below them by suffix, globs as a shell would; each once.

    Raises `FileNotFoundError` with an argument that leads to nothing.
    """
    found: dict[Path, Picture] = {}
    for argument in arguments:
        pictures = list(_expand(argument))
        if not pictures:
            raise FileNotFoundError(argument)
        for picture in pictures:
            found.setdefault(picture.path.resolve(), picture)
    return list(found.values())


def _expand(argument: str) -> Iterator[Picture]:
    path = Path(argument)
    if path.is_dir():
        for below in sorted(path.rglob("*")):
            if below.suffix.lower() in SUFFIXES and below.is_file():
                yield Picture(below, below.relative_to(path))
    elif path.exists():  # whatever its suffix: it was asked for by name
        yield Picture(path, Path(path.name))
    else:
        for match in sorted(glob.glob(argument, recursive=True)):  # noqa: PTH207  may be absolute
            yield from _expand(match) if match != argument else ()
