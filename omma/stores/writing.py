"""Files that others read: whole or not there, durable once named."""

import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(target: Path) -> Generator[Path]:
    """A name to write to; at the end, and only without an error, it becomes ``target``."""
    written = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield written
        name_durably(written, target)
    finally:
        written.unlink(missing_ok=True)


def name_durably(written: Path, target: Path) -> None:
    """Bring the file to the disk, then give it its name, also on the disk."""
    _sync(written, os.O_RDONLY)
    os.replace(written, target)  # rename is atomic: readers see old or new, never half
    _sync(target.parent, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
