"""Folders with all below them, as far as they can be read."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

Found = tuple[Path, OSError | None]  # a file, or what cannot be looked into and why


def walk(top: Path) -> Iterator[Found]:
    """Every file below ``top``, and every folder that may not be listed or not be entered.

    Folders behind links are entered once, after all others: under their own name where they have
    one here.
    """
    seen: set[tuple[int, int]] = set()
    folders, links = [top], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            at = os.stat(f"{folder}/.")  # noqa: PTH116  may be entered; a Path drops the dot
            if (at.st_dev, at.st_ino) in seen:
                continue
            seen.add((at.st_dev, at.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield folder, error
            continue
        for entry in entries:
            yield from _sort(entry, folders, links)


def _sort(entry: os.DirEntry[str], folders: list[Path], links: list[Path]) -> Iterator[Found]:
    """A file is answered, a folder put where its turn comes."""
    path = Path(entry.path)
    try:
        if entry.is_dir():
            (links if entry.is_symlink() else folders).append(path)
        elif entry.is_file():
            yield path, None
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link to itself is nothing, as one to nowhere
            yield path, error
