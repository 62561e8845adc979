"""``make bench``: every measurement that needs nothing beside the repository, in some minutes.

`benchmarks.cards`, `cards_photos` and `cards_rebuild` are run by hand: they fetch texts and
pictures from npm, and draw tens of thousands of cards.
"""

import os
import runpy
import sys

SMALLER = {"swap": ("--items", "3000")}  # by itself it fills its index for minutes

for name in (
    "command",
    "batcher",
    "startup",
    "recognisers",
    "faces",
    *(["neighbours"] if os.geteuid() == 0 else []),  # it lowers the niceness of programs
    "hostile",
    "queue",
    "jobs",
    "swap",
):
    program, *given = sys.argv
    sys.argv = [program, *SMALLER.get(name, ()), *given]  # the last of an option counts
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    sys.argv = [program, *given]
