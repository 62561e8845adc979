"""What starting the command costs, in CPU seconds and in the price of importing its libraries."""

import argparse
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.report import report
from omma.wire.jobs import JobListAnswer

LIBRARIES = "import typer, httpx, rich"
COMMAND = "from omma.cli.main import app; app(prog_name='omma')"
COMPLETION = {"_OMMA_COMPLETE": "complete_bash"}
NO_JOBS = JobListAnswer(jobs=[], next_cursor=None).model_dump_json().encode()


class _Jobs(BaseHTTPRequestHandler):
    """Answers that there are no jobs."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(NO_JOBS)))
        self.end_headers()
        self.wfile.write(NO_JOBS)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Say nothing."""


def main() -> None:
    """Run each several times in turn; report the least that each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    args, _ = parser.parse_known_args()
    with _server() as url:
        runs = {
            "import typer, httpx, rich": (LIBRARIES, [], {}),
            "omma --version": (COMMAND, ["--version"], {}),
            "omma --help": (COMMAND, ["--help"], {}),
            "completion of omma jo": (
                *(COMMAND, []),
                {**COMPLETION, "COMP_WORDS": "omma jo", "COMP_CWORD": "1"},
            ),
            "completion of omma jobs li": (
                *(COMMAND, []),
                {**COMPLETION, "COMP_WORDS": "omma jobs li", "COMP_CWORD": "2"},
            ),
            "omma jobs list": (COMMAND, ["jobs", "list", "--url", url], {}),
        }
        took = {name: list[float]() for name in runs}
        for _ in range(args.rounds):
            for name, run in runs.items():
                took[name].append(_cpu_s(*run))
    least = {name: min(each) for name, each in took.items()}
    floor = next(iter(least.values()))
    rows = [
        {"what": name, "cpu_s": cpu_s, "of_the_imports": cpu_s / floor}
        for name, cpu_s in least.items()
    ]
    report("command", "starting the command", rows)


def _cpu_s(script: str, arguments: list[str], environ: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(  # noqa: S603  our own scripts
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.DEVNULL,
        env={**os.environ, **environ},
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def _server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Jobs) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


if __name__ == "__main__":
    main()
