"""``python -m omma.engines.conversion KIND ORIGINAL TARGET``: prints the record as JSON."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from omma.domain.errors import ConversionFailed
from omma.domain.models import Conversion
from omma.engines.conversion.convert import convert


def main() -> int:
    """Answer 0, or 3 when the converted file does not answer as the original does."""
    kind, original, target = sys.argv[1:]
    try:
        record = convert(Conversion(kind), Path(original), Path(target))
    except ConversionFailed as error:
        sys.stderr.write(f"{error}\n")
        return 3
    sys.stdout.write(json.dumps(asdict(record)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
