import base64

import numpy as np
import pytest

from tests.fakes import DIMENSION, picture

DETECT, EMBED = "/api/v1/faces/detect", "/api/v1/faces/embed"


async def detect(client, faces=1, **params):
    answer = await client.post(DETECT, files={"file": picture(faces)}, params=params)
    return answer.json()


async def embed(client, faces=1, **params):
    answer = await client.post(EMBED, files={"file": picture(faces)}, params=params)
    return answer.json()


async def test_detection_answers_the_documented_shape(client):
    answer = await detect(client)

    assert answer.pop("timings_ms").keys() == {"decode", "engine", "total"}
    assert answer == {
        "image": {"width": 640, "height": 480},
        "model": "fake_detector",
        "faces": [
            {
                "face_index": 0,
                "bbox": {"x": 10.0, "y": 20.0, "width": 30.12, "height": 36.5},
                "confidence": 0.99,
                "quality": 0.5,
                "landmarks": {
                    "left_eye": [16.02, 27.3],
                    "right_eye": [20.54, 32.78],
                    "nose": [25.06, 38.25],
                    "left_mouth": [29.58, 43.72],
                    "right_mouth": [34.1, 49.2],
                },
            }
        ],
    }


async def test_faces_come_by_falling_confidence(client):
    faces = (await detect(client, faces=5))["faces"]

    assert [face["face_index"] for face in faces] == [0, 1, 2, 3, 4]
    assert [face["confidence"] for face in faces] == [0.99, 0.98, 0.97, 0.96, 0.95]


async def test_an_image_without_faces_is_an_answer_without_faces(client):
    assert (await detect(client, faces=0))["faces"] == []
    assert (await embed(client, faces=0))["faces"] == []


async def test_the_query_reaches_the_detector(client, detector):
    await detect(client, min_score=0.25, max_faces=3, det_size=1280, crops="true")

    [(_, options, _)] = detector.asked
    assert (options.min_score, options.max_faces, options.det_size) == (0.25, 3, 1280)
    assert options.crops


async def test_what_a_query_leaves_out_takes_the_default(client, detector):
    await detect(client)

    [(_, options, _)] = detector.asked
    assert (options.min_score, options.max_faces, options.det_size) == (0.5, 200, 640)
    assert not options.crops


async def test_the_detector_may_size_its_input_itself(client, detector):
    await detect(client, det_size="auto")

    assert detector.asked[0][1].det_size == "auto"


async def test_crops_are_base64_jpeg_and_only_when_asked_for(client):
    [face] = (await detect(client, crops=1))["faces"]
    [plain] = (await detect(client))["faces"]

    assert base64.b64decode(face["crop"]).startswith(b"\xff\xd8")
    assert "crop" not in plain


async def test_embedding_answers_the_default_recogniser_alone(client):
    [face] = (await embed(client))["faces"]

    assert face["embeddings"].keys() == {"arcface"}
    embedding = face["embeddings"]["arcface"]
    assert embedding["space"].startswith("r112:fake_detector:arcface_112:")
    assert embedding["dimension"] == len(embedding["values"]) == DIMENSION
    assert np.linalg.norm(embedding["values"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "params",
    [{"models": "arcface,facenet"}, {"models": ["arcface", "facenet"]}, {"models": "r112, r160"}],
)
async def test_recognisers_are_named_with_commas_or_repeated(client, params):
    [face] = (await embed(client, **params))["faces"]

    assert face["embeddings"].keys() == {"arcface", "facenet"}


async def test_both_encodings_hold_the_same_numbers(client):
    [plain] = (await embed(client))["faces"]
    [packed] = (await embed(client, encoding="base64"))["faces"]

    values = packed["embeddings"]["arcface"]["values"]
    unpacked = np.frombuffer(base64.b64decode(values), "<f4")
    numbers = np.array(plain["embeddings"]["arcface"]["values"], np.float32)
    assert np.array_equal(unpacked, numbers)


async def test_an_unknown_recogniser_is_404_before_any_work(client, detector):
    answer = await client.post(EMBED, files={"file": picture()}, params={"models": "magface"})

    assert answer.status_code == 404
    assert answer.json()["code"] == "model_not_found"
    assert "arcface, facenet" in answer.json()["detail"]
    assert detector.asked == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_score", "1.1"),
        ("min_score", "-0.1"),
        ("min_score", "nan"),
        ("max_faces", "0"),
        ("max_faces", "1.5"),
        ("det_size", "641"),
        ("det_size", ""),
        ("crops", "perhaps"),
        ("encoding", "hex"),
    ],
)
async def test_a_query_out_of_range_is_422_and_names_the_parameter(client, detector, name, value):
    answer = await client.post(EMBED, files={"file": picture()}, params={name: value})

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_input"
    assert name in answer.json()["detail"]
    assert detector.asked == []
