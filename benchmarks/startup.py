"""How long a first start takes, what it does afterwards, and what it weighs, per placement."""

import argparse
import shutil
import time
from pathlib import Path

from benchmarks.report import report
from benchmarks.servers import BENCH_HOME, cpu_s, running_omma


def main() -> None:
    """Start and stop each configuration several times; report every start."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rest", type=float, default=45, help="seconds until it counts as idle")
    parser.add_argument("--config", nargs="*", default=["config/local.yaml", "config/split.yaml"])
    args, _ = parser.parse_known_args()
    rows: list[dict[str, object]] = []
    for _ in range(args.rounds):
        for config in args.config:
            shutil.rmtree(BENCH_HOME, ignore_errors=True)
            with running_omma(Path(config)) as server:
                before_s = cpu_s(server.pids)
                time.sleep(args.rest)
                rows.append(
                    {
                        "what": config,
                        "ready_s": server.ready_s,
                        "cores_at_rest": (cpu_s(server.pids) - before_s) / args.rest,
                        "idle_pss_mb": server.memory_mb(),
                        "processes": len(server.pids),
                    }
                )
    report("startup", "from `omma up` to a healthy answer", rows)


if __name__ == "__main__":
    main()
