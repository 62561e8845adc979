"""Real weights for tests marked `models`, and pictures for those marked `eval`."""

import os
from pathlib import Path

import pytest

from omma.domain.errors import ModelMissing
from omma.domain.models import DetectorInfo
from omma.engines.loading import load_detector, load_embedder, load_image_embedder
from omma.settings import EngineSettings, Settings
from omma.stores.catalogue import Catalogue
from omma.stores.models import ModelFiles

ENGINE = EngineSettings(threads=1, streams=1, gpu="never")
SCRFD = DetectorInfo("scrfd_500m", "scrfd", "")


def open_pack():
    return Catalogue.read(Settings().models_file).pack("open")


def detector():
    info = open_pack().detector
    return load_detector(info, runnable(info), ENGINE)


def embedder(slot):
    info = open_pack().recognisers[slot]
    return load_embedder(info, runnable(info), ENGINE)


def image_model():
    return Catalogue.read(Settings().models_file).model("resnet50_embedding")


def image_embedder():
    return load_image_embedder(image_model(), runnable(image_model()), ENGINE)


def runnable(info):
    try:
        return ModelFiles(Settings().models_dir).path(info)
    except ModelMissing as missing:
        pytest.skip(f"{missing}; `make models` pulls it")


def eval_data():
    if "OMMA_EVAL_DATA" not in os.environ:
        pytest.skip("OMMA_EVAL_DATA names no folder of evaluation pictures")
    return Path(os.environ["OMMA_EVAL_DATA"])
