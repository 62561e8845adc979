import asyncio
import logging
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from ray.serve.metrics import Histogram

from deployments.faces import FaceDetection, FaceEmbedding
from omma.domain.errors import OmmaError, OutOfMemory, Overloaded, UndecodableImage
from omma.domain.faces import DetectOptions
from omma.engines.fake import FakeDetector, FakeEmbedder
from omma.engines.finder import FaceFinder
from omma.settings import Settings
from omma.stores.models import ModelFiles
from tests.logged import logged
from tests.samples import encode, picture


@pytest.fixture
def adopted(monkeypatch):
    """Settings of the logs that were adopted; this process is no replica."""
    adopted = []
    monkeypatch.setattr(
        "deployments.faces.enter_replica", lambda settings: adopted.append(settings.log)
    )
    return adopted


@pytest.fixture
def settings(tmp_path, monkeypatch, adopted):
    """Models without weights, which are never pulled; metrics go nowhere."""
    monkeypatch.setattr(ModelFiles, "path", lambda _self, info: tmp_path / info.name)
    del adopted
    monkeypatch.setattr(Histogram, "observe", lambda *_: None)
    recogniser = _fake("arc", slot="arcface", alignment="arcface_112", dimension=64)
    models = {"detector": _fake("detector", slot="detection"), "arc": recogniser}
    packs = {"open": {"detector": "detector", "recognisers": {"arcface": "arc"}}}
    catalogue = {"licences": {}, "models": models, "packs": packs}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(catalogue))
    faces = {"arcface": {"max_waiting": 4, "max_batch": 1, "streams": 1}}
    return Settings(home=tmp_path, models_file=tmp_path / "models.yaml", faces=faces)


def _fake(name, **fields):
    return fields | {
        "family": "fake",
        "source": f"file:{name}",
        "sha256": "0" * 64,
        "size_bytes": 4,
        "download_bytes": 4,
        "licence": "MIT",
        "input": "anything",
    }


def crops(count):
    return np.full((count, 112, 112, 3), 90, np.uint8)


@pytest.fixture
def engines(monkeypatch):
    """What the next replicas load; a test may let them fail or wait."""
    engines = SimpleNamespace(detector=FakeDetector(), embedder=FakeEmbedder(64))
    monkeypatch.setattr("deployments.faces.load_detector", lambda *_: engines.detector)
    monkeypatch.setattr("deployments.faces.load_embedder", lambda *_: engines.embedder)
    return engines


def raising(error):
    def run(*_):
        raise error

    return SimpleNamespace(run=run)


async def test_an_image_that_fails_unexpectedly_fails_alone_and_in_the_log(
    settings, monkeypatch, caplog
):
    bad = encode(picture(), "PNG")
    finish = FaceFinder.finish

    def failing(finder, prepared, candidates, options):
        if prepared.photo.data == bad:
            raise AssertionError("nobody foresaw this")
        return finish(finder, prepared, candidates, options)

    monkeypatch.setattr(FaceFinder, "finish", failing)

    first, second, third = await FaceDetection(settings).detect(
        [encode(picture(), "JPEG"), bad, b"no image"], DetectOptions()
    )

    assert (first.width_px, first.height_px) == (64, 48)
    assert type(second) is OmmaError
    assert "foresaw" not in str(second)
    assert isinstance(third, UndecodableImage)
    [record] = logged(caplog, "deployments", logging.ERROR)
    assert "nobody foresaw this" in str(record.exc_info[1])


async def test_an_engine_that_fails_unexpectedly_is_told_as_our_fault(settings, engines, caplog):
    engines.detector = engines.embedder = raising(AssertionError("nobody foresaw this"))

    [found] = await FaceDetection(settings).detect([encode(picture(), "JPEG")], DetectOptions())
    with pytest.raises(OmmaError, match="log says why"):
        await FaceEmbedding(settings, "arcface").embed(crops(3))

    assert type(found) is OmmaError
    assert len(logged(caplog, "deployments", logging.ERROR)) == 2


async def test_memory_that_runs_out_is_told_as_itself(settings, engines):
    engines.embedder = raising(OutOfMemory("no memory for one crop"))

    with pytest.raises(OutOfMemory):
        await FaceEmbedding(settings, "arcface").embed(crops(1))


async def test_crops_beyond_those_that_may_wait_are_refused(settings, engines):
    gate, run = threading.Event(), engines.embedder.run
    engines.embedder = SimpleNamespace(run=lambda batch: gate.wait(30) and run(batch))
    embedding = FaceEmbedding(settings, "arcface")

    waiting = asyncio.create_task(embedding.embed(crops(8)))  # one at a time: seven wait
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="more than 4 faces"):
        await embedding.embed(crops(1))
    gate.set()

    assert (await waiting).shape == (8, 64)
    assert (await embedding.embed(crops(1))).shape == (1, 64)


async def test_each_class_adopts_the_logs_of_its_replica(settings, adopted):
    FaceDetection(settings)
    FaceEmbedding(settings, "arcface")

    assert adopted == [settings.log, settings.log]
