"""What hostile files leave behind: answers below 500, and memory that does not grow."""

import argparse
import http.client
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.report import report
from benchmarks.servers import Server, running_omma
from tests.hostile import hostile_files

SERVER_FAULT = 500
SEED = 7


def main() -> None:
    """One round warms up; the second's memory, settled, is what five more are held against."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settle", type=float, default=60)
    parser.add_argument("--config", default="config/local.yaml")
    args, _ = parser.parse_known_args()
    with running_omma(Path(args.config)) as server:
        time.sleep(args.settle)
        rows = [_row("idle", server, Counter())]
        answers = _round(server.port)
        time.sleep(args.settle)
        rows.append(_row(f"300 files, {args.settle:g} s later", server, answers))
        for _ in range(args.rounds):
            answers = _round(server.port)
        time.sleep(args.settle)
        rows.append(_row(f"{args.rounds} more rounds, as much later", server, answers))
    report("hostile", "hostile files: answers and memory", rows)


def _row(what: str, server: Server, answers: Counter[int]) -> dict[str, object]:
    faults = sum(count for status, count in answers.items() if status >= SERVER_FAULT)
    return {
        "what": what,
        "pss_mb": server.memory_mb(),
        "answers": " ".join(f"{status}:{count}" for status, count in sorted(answers.items())),
        "faults": faults,
    }


def _round(port: int) -> Counter[int]:
    with ThreadPoolExecutor(4) as clients:
        bodies = [data for _, data in hostile_files(SEED)]
        return Counter(clients.map(lambda body: _status(port, body), bodies))


def _status(port: int, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/octet-stream"}
    connection.request("POST", "/api/v1/faces/embed?crops=true", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


if __name__ == "__main__":
    main()
