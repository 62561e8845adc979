"""``make bench``: every measurement that needs no data beside the repository.

Those of cards fetch texts and pictures from npm, and draw for an hour; real cards come on top
where OMMA_EVAL_DATA names a folder.
"""

import runpy

for name in (
    "batcher",
    "startup",
    "faces",
    "hostile",
    "queue",
    "jobs",
    "cards",
    "cards_rebuild",
    "swap",
):
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")
