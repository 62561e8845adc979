"""What processes that were killed left in the work folder of their machine."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

SHARDS, IMPORTS = "shard-", "import"  # how the names of their folders begin


def remove_leftovers(work: Path, prefix: str, *, older_than_s: float = 0.0) -> None:
    """Folders that nobody has written to for so long."""
    for folder in work.glob(f"{prefix}*"):
        with suppress(OSError):  # a neighbour was faster
            if time.time() - folder.stat().st_mtime >= older_than_s:
                shutil.rmtree(folder, ignore_errors=True)
