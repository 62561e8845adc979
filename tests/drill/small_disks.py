"""A disk so small that a test can fill it."""

import contextlib
import errno
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SIZE = "8m"
CHUNK = bytes(4096)


@dataclass(frozen=True)
class SmallDisk:
    """A file system of its own under ``folder``."""

    folder: Path

    @property
    def ballast(self):
        return self.folder / "ballast"

    def fill(self):
        """Leave no room for another page."""
        with self.ballast.open("ab", buffering=0) as file, contextlib.suppress(_Full):
            while True:
                _write(file)

    def clear(self):
        self.ballast.unlink()


class _Full(Exception):
    pass


def _write(file):
    try:
        file.write(CHUNK)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _Full from None
        raise


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk", size=SIZE) as disk:
        yield disk


@contextlib.contextmanager
def mounted(folder, *, size):
    """A disk of ``size`` at ``folder``, which is made."""
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not mount or not umount:
        pytest.skip("no small disk: there is no `mount` here")
    command = [mount, "-t", "tmpfs", "-o", f"size={size}", "omma-tests", folder]
    mounting = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if mounting.returncode:
        pytest.skip(f"no small disk: {mounting.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run([umount, folder], check=True)  # noqa: S603
