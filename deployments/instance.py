"""One running omma: what it recorded of itself, under its home and on nobody else's."""

import dataclasses
import fcntl
import json
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from deployments.reaping import Process, is_alive
from omma.domain.errors import CannotStart

LONGEST_HOME = 23  # of 107 bytes in a Unix socket's path, Ray and HAProxy need the rest
PLAIN = re.compile(r"[A-Za-z0-9/._@+-]+")  # HAProxy's configuration needs no quotes for these


@dataclass(frozen=True, slots=True)
class Instance:
    """What another process must know to find this one, and to end it."""

    home: str
    mark: str  # in the environment of every process that belongs to it
    process: Process  # the one that started, and will end, all others
    config: str
    host: str
    port: int
    parent: int = 0  # when this process ends, so do we; 0 for nobody
    reload: bool = False
    short_home: str = ""  # another path to the same folder, for sockets
    dashboard_port: int = 0
    ray_address: str = ""
    is_ready: bool = False
    processes: tuple[Process, ...] = ()  # as they were when it became ready

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def dashboard_url(self) -> str:
        """Where Ray's dashboard answers to those who have the token."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def is_alive(self) -> bool:
        """Whether the process that keeps it up is there."""
        return is_alive(self.process)

    def owns(self, mark: str) -> bool:
        """Whether a process with this ``mark`` belongs to it."""
        return mark == self.mark

    def but(self, **changes: Any) -> Self:
        """The same with ``changes``."""
        return dataclasses.replace(self, **changes)

    def write(self) -> None:
        """Record it; readers see the old record or the new one, never half."""
        path = record_path(Path(self.home))
        part = path.with_suffix(".part")
        part.write_text(json.dumps(dataclasses.asdict(self), indent=2))
        os.replace(part, path)

    def forget(self) -> None:
        """Remove what only a running instance needs."""
        record_path(Path(self.home)).unlink(missing_ok=True)
        if self.short_home and self.short_home != self.home:
            shutil.rmtree(Path(self.short_home).parent, ignore_errors=True)


def new_mark(home: Path) -> str:
    """A mark that tells this instance from others, and its home from other homes."""
    return f"{uuid.uuid4()}@{home}"


def instance_id(mark: str) -> str:
    """What of a ``mark`` is one instance's alone, and fits into a header."""
    return mark.partition("@")[0]


def of_home(home: Path) -> Callable[[str], bool]:
    """Whether a mark is that of any instance under ``home``, recorded or not."""
    return lambda mark: mark.endswith(f"@{home}")


def make_private(home: Path) -> str:
    """Make ``home`` for its owner alone; answer a warning where it is another user's.

    Ray makes folders that anybody may enter and logs that anybody may read, and a job's id in them
    opens its result: what shields them is the folder above. Raises `CannotStart` for a folder that
    users share, such as /tmp.
    """
    if home.is_dir() and home.stat().st_mode & stat.S_ISVTX:
        raise CannotStart(f"{str(home)!r} is shared by all users: name a folder of its own")
    run_dir(home)
    if home.stat().st_uid != os.geteuid():
        return f"{str(home)!r} belongs to another user, who may read all that is in it"
    home.chmod(0o700)
    return ""


def run_dir(home: Path) -> Path:
    """The folder of what a running instance needs; nobody else may look into it."""
    path = home / "run"
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise CannotStart(
            f"cannot make {str(path)!r} ({error.strerror}): name another folder with --home or"
            " OMMA_HOME"
        ) from None
    return path


def record_path(home: Path) -> Path:
    """Where an instance under ``home`` records itself."""
    return run_dir(home) / "instance.json"


def read_instance(home: Path) -> Instance | None:
    """The last recorded instance under ``home``, alive or not."""
    try:
        fields = json.loads(record_path(home).read_text())
        fields["process"] = Process(**fields["process"])
        fields["processes"] = tuple(Process(**each) for each in fields["processes"])
        return Instance(**fields)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None  # none, or of another version


def lock(home: Path) -> bool:
    """Keep every other instance out of ``home`` until this process ends, across `exec`."""
    fd = os.open(run_dir(home) / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return False
    os.set_inheritable(fd, True)  # noqa: FBT003  never closed: the lock lives as we do
    return True


def short(home: Path) -> str:
    """``home``, or a private link to it where sockets or HAProxy would not take its path."""
    if len(str(home)) <= LONGEST_HOME and PLAIN.fullmatch(str(home)):
        return str(home)
    link = Path(tempfile.mkdtemp(prefix="omma-", dir="/tmp")) / "home"  # mode 0700
    link.symlink_to(home)
    return str(link)
