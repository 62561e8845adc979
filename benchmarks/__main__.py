"""``make bench``: every measurement that needs no data beside the repository."""

import runpy

for name in ("batcher", "startup", "faces", "hostile", "queue", "jobs"):
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")
