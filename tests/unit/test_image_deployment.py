"""The replica that embeds whole images: batches, lanes, laziness, and what it tells of faults."""

import asyncio
import logging
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from ray.serve.metrics import Counter, Histogram

from deployments.images import ImageEmbedding
from deployments.metrics import OperationMetrics
from omma.domain.errors import ModelCorrupt, OmmaError, UndecodableImage
from omma.domain.faces import Lane
from omma.engines.fake import FakeEmbedder
from omma.operations.declaring import Observation
from omma.settings import Settings
from omma.stores.models import ModelFiles
from tests.logged import logged
from tests.samples import encode, picture

IMAGE = encode(picture(), "JPEG")


@pytest.fixture
def settings_of(tmp_path, monkeypatch):
    """Settings with a model without weights; this process is no replica, metrics go nowhere."""
    monkeypatch.setattr(ModelFiles, "path", lambda _self, info: tmp_path / info.name)
    monkeypatch.setattr("deployments.images.enter_replica", lambda _settings: None)
    monkeypatch.setattr(Histogram, "observe", lambda *_: None)
    fields = {
        "slot": "embedding",
        "family": "fake",
        "framing": "stretch_224",
        "dimension": 64,
        "source": "file:whole",
        "sha256": "0" * 64,
        "size_bytes": 4,
        "download_bytes": 4,
        "licence": "MIT",
        "input": "anything",
    }
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump({"licences": {}, "models": {"whole": fields}, "packs": {}}))

    def settings_of(**embedding):
        return Settings(home=tmp_path, models_file=path, embedding={"model": "whole", **embedding})

    return settings_of


@pytest.fixture
def loading(monkeypatch):
    """What the next replicas load; each entry is one load, errors are raised."""
    engines = []
    done = []

    def load(*_):
        engine = engines.pop(0) if engines else FakeEmbedder(64)
        done.append(threading.current_thread())
        if isinstance(engine, Exception):
            raise engine
        return engine

    monkeypatch.setattr("deployments.images.load_image_embedder", load)
    return SimpleNamespace(engines=engines, done=done)


async def test_images_are_embedded_in_the_order_given_and_a_bad_one_fails_alone(settings_of):
    dark = encode(np.full((300, 200, 3), 20, np.uint8), "PNG")

    first, bad, second = await ImageEmbedding(settings_of()).embed([IMAGE, b"no image", dark])

    assert (first.width_px, first.height_px, second.height_px) == (64, 48, 300)
    assert isinstance(bad, UndecodableImage)
    assert first.space == second.space
    assert (first.model, first.values.shape) == ("whole", (64,))
    assert set(first.timings_ms) == {"decode", "embed"}
    assert not np.allclose(first.values, second.values)


async def test_what_waits_while_the_engine_is_busy_shares_a_batch(settings_of, loading):
    sizes, gate, fake = [], threading.Event(), FakeEmbedder(64)

    def run(pixels):
        sizes.append(len(pixels))
        gate.wait(10)
        return fake.run(pixels)

    loading.engines.append(SimpleNamespace(run=run))
    replica = ImageEmbedding(settings_of(streams=1, max_batch=4))

    first = asyncio.create_task(replica.embed([IMAGE], lane=Lane.JOB))
    while not sizes:  # noqa: ASYNC110  a thread fills it
        await asyncio.sleep(0.001)
    others = asyncio.create_task(replica.embed([IMAGE] * 4, lane=Lane.JOB))
    while replica._batcher.waiting < 4:  # noqa: ASYNC110, SLF001  that they wait is the point
        await asyncio.sleep(0.001)
    gate.set()

    assert len(await first + await others) == 5
    assert sizes == [1, 4]


async def test_an_eager_replica_has_its_model_before_the_first_image(settings_of, loading):
    ImageEmbedding(settings_of())

    assert loading.done == [threading.current_thread()]


async def test_a_lazy_replica_loads_its_model_with_the_first_image_in_a_thread(
    settings_of, loading
):
    replica = ImageEmbedding(settings_of(is_lazy=True))
    assert loading.done == []

    outcomes = await replica.embed([IMAGE] * 3)

    assert not [each for each in outcomes if isinstance(each, OmmaError)]
    [thread] = loading.done
    assert thread is not threading.current_thread()


async def test_a_model_that_does_not_load_is_told_and_tried_again(settings_of, loading):
    loading.engines.append(ModelCorrupt("whole.onnx does not load"))
    replica = ImageEmbedding(settings_of(is_lazy=True))

    [first] = await replica.embed([IMAGE])
    [second] = await replica.embed([IMAGE])

    assert isinstance(first, ModelCorrupt)
    assert second.values.shape == (64,)


async def test_a_fault_that_nobody_foresaw_is_told_to_the_log_alone(settings_of, loading, caplog):
    loading.engines.append(RuntimeError("inside the engine"))
    replica = ImageEmbedding(settings_of(is_lazy=True))

    [outcome] = await replica.embed([IMAGE])

    assert type(outcome) is OmmaError
    assert "inside" not in str(outcome)
    assert len(logged(caplog, "deployments", logging.ERROR)) == 1


def test_operations_are_counted_by_lane_and_code(monkeypatch):
    counted = []
    monkeypatch.setattr(
        Counter, "inc", lambda self, value, tags: counted.append((self._name, value, tags))
    )
    monkeypatch.setattr(
        Histogram, "observe", lambda self, value, tags: counted.append((self._name, value, tags))
    )

    OperationMetrics().observe(
        Observation("image_embedding", Lane.JOB, 3, ("empty_image",), took_s=0.5)
    )

    tags = {"operation": "image_embedding", "lane": "job"}
    assert counted == [
        ("omma_operation_images", 3, tags),
        ("omma_operation_errors", 1, {**tags, "code": "empty_image"}),
        ("omma_operation_s", 0.5, tags),
    ]
