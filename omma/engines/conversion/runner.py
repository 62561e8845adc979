"""Conversions from outside: TensorFlow and the rest live and die in a process of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import omma
from omma.domain.errors import ConversionFailed
from omma.domain.models import Conversion, Converted

# On a GPU a PRelu is one kernel, and what CPUs run faster would be three: only there it stays.
KEEPS_PRELU = any(distributions(name="onnxruntime-gpu"))

VERSIONS: Mapping[Conversion, int] = {  # raise one when its results change: pulls convert anew
    Conversion.FREE_DIMENSIONS: 1,
    Conversion.FREE_BATCH: 2 if KEEPS_PRELU else 3,
    Conversion.FROZEN_GRAPH: 2,
    Conversion.TFJS_RESNET50: 1,
}
MESSAGE_LINES = 8


@dataclass(frozen=True, slots=True)
class SubprocessConverter:
    """`ModelConverter` that runs ``python -m omma.engines.conversion``."""

    timeout_s: float = 900.0  # half a minute where nothing else runs

    def version(self, conversion: Conversion) -> int:
        """Which version of ``conversion`` this is."""
        return VERSIONS[conversion]

    def convert(self, conversion: Conversion, original: Path, target: Path) -> Converted:
        """Write the runnable ``target``; `ConversionFailed` carries the end of the log."""
        command = (sys.executable, "-m", "omma.engines.conversion")
        try:
            ended = subprocess.run(  # noqa: S603  our own module, the paths are arguments
                (*command, conversion, str(original.resolve()), str(target.resolve())),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ConversionFailed(
                f"{conversion} of {original} took more than {self.timeout_s:.0f} s: pull again "
                "when the machine is less busy"
            ) from None
        if ended.returncode != 0:
            raise ConversionFailed(_explain(conversion, original, ended))
        return Converted(**json.loads(ended.stdout.splitlines()[-1]))


def _environment() -> dict[str, str]:
    """Quiet, on the CPU, and with this very omma importable from any folder."""
    path = [str(Path(omma.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }


def _explain(
    conversion: Conversion, original: Path, ended: subprocess.CompletedProcess[str]
) -> str:
    if ended.returncode < 0:
        return (
            f"{conversion} of {original} was ended by signal {-ended.returncode}: it takes up to "
            "2 GB of memory; free some and pull again"
        )
    log = "\n".join(ended.stderr.strip().splitlines()[-MESSAGE_LINES:])
    return f"{conversion} of {original} failed:\n{log}"
