"""Operations as jobs see them: what they check, run, keep and count."""

import asyncio
import io
import json

import numpy as np
import pytest

from omma.domain.errors import InvalidInput, ModelNotFound, OmmaError, UndecodableImage
from omma.domain.faces import Lane
from omma.domain.jobs import EntityKind
from omma.operations.registry import OPERATIONS, bind, handle_methods, row
from tests.fakes import (
    DIMENSION,
    FakeFaceDetector,
    FakeImageEmbedder,
    capabilities,
    picture,
)

FOLDER = "jobs/3f0c"
ON_IMAGES = [each for each in OPERATIONS if each.takes_images]


def loaded(data):
    return np.load(io.BytesIO(data), allow_pickle=False)


async def kept(name, image, **params):
    """What a job of one image keeps."""
    handler = bind(capabilities())[name]
    [outcome] = await handler.run([image], handler.check(params), lane=Lane.JOB)
    return handler.keep(outcome, FOLDER)


def paths(value):
    """Every path that a result names."""
    match value:
        case dict():
            own = [each for key, each in value.items() if key.endswith("_path")]
            return own + [path for each in value.values() for path in paths(each)]
        case list():
            return [path for each in value for path in paths(each)]
        case _:
            return []


async def test_an_image_embedding_is_kept_as_documented():
    found = await kept("image_embedding", picture())

    assert found.result["embedding_dimension"] == DIMENSION
    assert found.result["embedding_path"] == "jobs/3f0c/embedding.bin"
    assert list(found.files) == ["embedding.bin"]
    values = loaded(found.files["embedding.bin"])
    assert (values.shape, values.dtype) == ((DIMENSION,), np.float32)
    assert np.linalg.norm(values) == pytest.approx(1, abs=1e-5)


async def test_detected_faces_are_kept_as_documented():
    found = await kept("face_detection", picture(2))

    first, second = found.result["faces"]
    assert set(first) == {"face_index", "bbox", "confidence", "landmarks", "crop_path"}
    assert first["bbox"] == {"x": 10.0, "y": 20.0, "width": 30.12, "height": 36.5}
    assert set(first["landmarks"]) == {
        "left_eye", "right_eye", "nose", "left_mouth", "right_mouth",
    }  # fmt: skip
    assert second["crop_path"] == "jobs/3f0c/faces/1.jpg"
    assert found.files["faces/1.jpg"].startswith(b"\xff\xd8")


async def test_embedded_faces_are_kept_as_documented():
    found = await kept("face_embedding", picture(2))

    first = found.result["faces"][0]
    assert {"face_index", "bbox", "confidence", "embedding_dimension"} < set(first)
    assert first["embedding_path"] == "jobs/3f0c/faces/0.bin"
    assert first["crop_path"] == "jobs/3f0c/faces/0.jpg"
    assert first["embedding_space"].startswith("r112:")
    assert set(found.files) == {"faces/0.bin", "faces/0.jpg", "faces/1.bin", "faces/1.jpg"}
    assert loaded(found.files["faces/1.bin"]).shape == (DIMENSION,)


async def test_every_recogniser_that_was_asked_keeps_its_embedding():
    found = await kept("face_embedding", picture(1), models=["arcface", "facenet"])

    [face] = found.result["faces"]
    assert set(found.files) == {"faces/0.bin", "faces/0.facenet.bin", "faces/0.jpg"}
    assert face["embedding_path"] == face["embeddings"]["arcface"]["embedding_path"]
    assert face["embeddings"]["facenet"]["embedding_space"].startswith("r160:")


@pytest.mark.parametrize("operation", ON_IMAGES, ids=lambda each: each.name)
@pytest.mark.parametrize("faces", [0, 1, 200])
async def test_a_result_is_json_and_names_exactly_the_files_that_are_kept(operation, faces):
    found = await kept(operation.name, picture(faces))

    result = json.loads(json.dumps(found.result, allow_nan=False))
    assert result == found.result
    assert sorted(set(paths(result))) == sorted(f"{FOLDER}/{path}" for path in found.files)


@pytest.mark.parametrize("operation", ON_IMAGES, ids=lambda each: each.name)
async def test_every_operation_counts_what_it_found_as_json(operation):
    handler = bind(capabilities())[operation.name]
    [outcome] = await handler.run([picture(3)], {}, lane=Lane.JOB)

    metrics = handler.measure(outcome)

    assert metrics["success"] is True
    assert json.dumps(metrics, allow_nan=False)


async def test_faces_are_counted_with_their_confidence():
    handler = bind(capabilities())["face_detection"]
    [outcome] = await handler.run([picture(2)], {}, lane=Lane.JOB)

    metrics = handler.measure(outcome)

    assert (metrics["faces_found"], metrics["confidence_scores"]) == (2, [0.99, 0.98])


async def test_one_bad_image_fails_alone_and_the_lane_reaches_the_model():
    embedder = FakeImageEmbedder()
    handler = bind(capabilities(embedder=embedder))["image_embedding"]

    outcomes = await handler.run([picture(), b"no image", picture(2)], {}, lane=Lane.JOB)

    assert [isinstance(each, OmmaError) for each in outcomes] == [False, True, False]
    assert [lane for _, lane in embedder.asked] == [Lane.JOB]


async def test_the_parameters_of_a_job_reach_the_detector():
    detector = FakeFaceDetector()
    handler = bind(capabilities(detector))["face_detection"]
    params = handler.check({"min_score": 0.7, "max_faces": 3, "det_size": 320})

    await handler.run([picture(9)], params, lane=Lane.JOB)

    [(_, options, _)] = detector.asked
    assert (options.min_score, options.max_faces, options.det_size) == (0.7, 3, 320)
    assert options.crops


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_checked_parameters_are_json_and_stay_as_they_are(operation):
    handler = bind(capabilities())[operation.name]

    checked = handler.check({})

    assert handler.check(json.loads(json.dumps(checked))) == checked


@pytest.mark.parametrize(
    ("name", "params", "error"),
    [
        ("image_embedding", {"sharpness": 3}, InvalidInput),
        ("face_detection", {"min_score": 2}, InvalidInput),
        ("face_detection", {"min_score": 0.01}, InvalidInput),  # below the server's floor
        ("face_detection", {"models": "arcface"}, InvalidInput),
        ("face_embedding", {"models": "voiceprint"}, ModelNotFound),
    ],
)
def test_parameters_that_can_never_be_answered_are_refused_before_any_work(name, params, error):
    with pytest.raises(error):
        bind(capabilities())[name].check(params)


async def test_every_call_is_observed_with_the_codes_of_its_errors():
    seen = []
    handler = bind(capabilities(), observe=seen.append)["image_embedding"]

    await handler.run([picture(), b"no image"], {}, lane=Lane.JOB)

    [observed] = seen
    assert (observed.operation, observed.lane, observed.images) == ("image_embedding", "job", 2)
    assert observed.errors == (UndecodableImage.code,)
    assert observed.took_s >= 0


@pytest.mark.parametrize(
    ("fault", "code"), [(InvalidInput("bad"), "invalid_input"), (KeyError("x"), "internal_error")]
)
async def test_a_call_that_raises_is_observed_as_failed_for_every_image(fault, code):
    seen = []
    embedder = FakeImageEmbedder(fault=fault)
    handler = bind(capabilities(embedder=embedder), observe=seen.append)["image_embedding"]

    with pytest.raises(type(fault)):
        await handler.run([picture(), picture()], {}, lane=Lane.JOB)

    assert [each.errors for each in seen] == [(code, code)]


async def test_work_that_nobody_waits_for_is_observed_as_cancelled():
    seen, detector = [], FakeFaceDetector(gate=asyncio.Event())
    handler = bind(capabilities(detector), observe=seen.append)["face_detection"]
    running = asyncio.create_task(handler.run([picture()], {}, lane=Lane.JOB))
    await detector.arrived.acquire()

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert [each.errors for each in seen] == [("cancelled",)]


def test_names_nouns_and_verbs_are_told_apart():
    assert len({each.name for each in OPERATIONS}) == len(OPERATIONS)
    assert len({each.path for each in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("operation", ON_IMAGES, ids=lambda each: each.name)
def test_every_operation_has_a_row_of_the_registry(operation):
    listed = row(operation)

    assert listed.job_type == operation.name
    assert listed.entity is EntityKind.IMAGE
    assert listed.action == operation.name
    assert listed.permission == "ai_inference_support"
    assert listed.params["type"] == "object"


async def test_every_operation_is_a_method_of_whatever_holds_the_operations():
    holder = type("Holder", (), dict(handle_methods()))()
    holder.operations = bind(capabilities())

    found = await holder.embed_images(picture())
    faces = await holder.detect_faces(picture(4), max_faces=2)

    assert found.values.shape == (DIMENSION,)
    assert len(faces.faces) == 2
    with pytest.raises(UndecodableImage):
        await holder.embed_images(b"no image")
    with pytest.raises(InvalidInput):
        await holder.embed_images(picture(), sharpness=3)
