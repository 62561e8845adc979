"""Which files a command line means."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from omma.cli.trees import walk

SUFFIXES = {
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".heic", ".heif", ".avif"),
}
DEEP = "**"  # of a glob: any folders, or none


@dataclass(frozen=True, slots=True)
class Picture:
    """A file to send, and the name it keeps under another folder."""

    path: Path
    name: Path  # relative to the argument that led here
    fault: OSError | None = None  # of a folder or file that cannot be looked into

    def read(self) -> bytes:
        """Its bytes; raises the `OSError` that keeps them away."""
        if self.fault is not None:
            raise self.fault
        return self.path.read_bytes()


def find_pictures(arguments: Iterable[str]) -> list[Picture]:
    """Files as named, folders with all below them by suffix, globs as a shell would; each once.

    What cannot be looked into is among them, with its fault. Raises `FileNotFoundError` with an
    argument that leads to nothing.
    """
    found: dict[str, Picture] = {}
    for argument in arguments:
        pictures = sorted(_expand(argument), key=lambda picture: picture.path)
        if not pictures:
            raise FileNotFoundError(argument)
        for picture in pictures:
            found.setdefault(os.path.realpath(picture.path), picture)
    return list(found.values())


def _expand(argument: str) -> Iterator[Picture]:
    path = Path(argument)
    try:
        if path.is_dir():
            yield from _below(path)
        elif path.exists():  # whatever its suffix: it was asked for by name
            yield Picture(path, Path(path.name))
        elif DEEP in path.parts:
            yield from _below_matches(path.parts)
        else:
            for match in glob.glob(argument):  # noqa: PTH207  may be absolute
                yield from _expand(match) if match != argument else ()
    except OSError as error:  # a folder on the way may not be entered
        yield Picture(path, Path(path.name), error)


def _below(folder: Path) -> Iterator[Picture]:
    for path, fault in walk(folder):
        if fault or path.suffix.lower() in SUFFIXES:
            yield Picture(path, path.relative_to(folder), fault)


def _below_matches(pattern: Sequence[str]) -> Iterator[Picture]:
    """Files that match, and what lies in folders that do; the walk is ours: it tells of faults."""
    first = pattern.index(DEEP)
    for top in glob.glob(str(Path(*pattern[:first]))):  # noqa: PTH207  may be absolute
        for path, fault in walk(Path(top)):
            parts, wanted = path.relative_to(top).parts, pattern[first:]
            if fault or _matches(parts, wanted):
                yield Picture(path, Path(path.name), fault)
            elif path.suffix.lower() in SUFFIXES:
                folders = (each for each in range(len(parts)) if _matches(parts[:each], wanted))
                if (depth := next(folders, None)) is not None:
                    yield Picture(path, Path(*parts[depth:]))


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == DEEP:
        return any(_matches(parts[at:], pattern[1:]) for at in range(len(parts) + 1))
    is_like = bool(parts) and fnmatchcase(parts[0], pattern[0])
    is_hidden = is_like and parts[0].startswith(".") and not pattern[0].startswith(".")
    return is_like and not is_hidden and _matches(parts[1:], pattern[1:])
