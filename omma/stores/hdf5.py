"""HDF5 files, whose library has no types and many ways to say that one is broken."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import h5py  # pyright: ignore[reportMissingTypeStubs]
import numpy as np

from omma.domain.errors import IndexCorrupt

CHUNK_ROWS = 2048
BROKEN = (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError)


@contextmanager
def opened(path: Path) -> Generator[Any]:
    """The file to read; what is wrong with it inside the block is `IndexCorrupt`."""
    try:
        with cast("Any", h5py.File(path, "r")) as file:
            yield file
    except BROKEN as error:
        raise IndexCorrupt(f"{path.name} cannot be read as features: {error}") from None


@contextmanager
def created(path: Path) -> Generator[Any]:
    """A new file to write."""
    with cast("Any", h5py.File(path, "w")) as file:
        yield file


def add(file: Any, name: str, values: np.ndarray[Any, Any]) -> None:
    """Write a column with a checksum on every chunk."""
    if not len(values):  # HDF5 has no empty chunks
        file.create_dataset(name, data=values)
        return
    chunk = (min(len(values), CHUNK_ROWS), *values.shape[1:])
    file.create_dataset(name, data=values, chunks=chunk, fletcher32=True)


def require_inside(group: Any, name: str) -> Any:
    """What lies in the very file: links and data elsewhere would read other files of ours."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise IndexCorrupt(f"{name!r} is a link, or absent")
    found: Any = group[name]
    if getattr(found, "external", None) or getattr(found, "is_virtual", False):
        raise IndexCorrupt(f"{name!r} has its data in another file")
    return found
