import numpy as np
import pytest

from omma.domain.errors import (
    InvalidInput,
    ModelNotFound,
    OutOfMemory,
    Overloaded,
    UndecodableImage,
)
from omma.domain.faces import Alignment, Lane
from omma.services.faces import FaceQuery
from tests.fakes import FakeFaceDetector, FakeFaceEmbedder, face_service, picture


class CountingEmbedder(FakeFaceEmbedder):
    """Remembers how many crops each call brought; embeds each as its number in that call."""

    def __init__(self):
        self.calls = []

    async def embed(self, crops, *, lane=Lane.INTERACTIVE):
        self.calls.append((len(crops), lane))
        return np.arange(len(crops), dtype=np.float32)[:, None]


def service_with(embedder, detector=None):
    service = face_service(detector)
    object.__setattr__(service, "embedders", {"arcface": embedder, "facenet": embedder})
    return service


async def test_the_faces_of_all_images_are_embedded_in_one_call():
    embedder = CountingEmbedder()

    images = [picture(2), picture(0), picture(3)]
    outcomes = await service_with(embedder).embed(images, FaceQuery(), lane=Lane.JOB)

    assert embedder.calls == [(5, Lane.JOB)]
    found = [[float(e["arcface"].values[0]) for e in o.embeddings] for o in outcomes]
    assert found == [[0, 1], [], [2, 3, 4]]


async def test_an_image_that_cannot_be_read_fails_alone():
    outcomes = await face_service().embed([picture(1), b"noise", picture(2)], FaceQuery())

    assert isinstance(outcomes[1], UndecodableImage)
    assert [len(outcomes[0].embeddings), len(outcomes[2].embeddings)] == [1, 2]


async def test_images_without_faces_never_reach_the_embedder():
    embedder = CountingEmbedder()

    [outcome] = await service_with(embedder).embed([picture(0)], FaceQuery())

    assert (outcome.embeddings, embedder.calls) == ((), [])


async def test_only_the_asked_alignments_are_cut():
    detector = FakeFaceDetector()

    await face_service(detector).embed([picture(1)], FaceQuery(models=("facenet",)))

    [(_, options, _)] = detector.asked
    assert options.alignments == (Alignment.FACENET_160,)


@pytest.mark.parametrize("names", [("arcface", "facenet"), ("facenet", "r112", "arcface")])
async def test_a_recogniser_answers_to_its_slot_and_to_its_name_but_once(names):
    [outcome] = await face_service().embed([picture(1)], FaceQuery(models=names))

    assert sorted(outcome.embeddings[0]) == ["arcface", "facenet"]


async def test_spaces_differ_between_recognisers_and_name_the_detector():
    query = FaceQuery(models=("arcface", "facenet"))

    [outcome] = await face_service().embed([picture(1)], query)

    arcface, facenet = (outcome.embeddings[0][slot].space for slot in ("arcface", "facenet"))
    assert arcface != facenet
    assert "fake_detector" in arcface


async def test_an_unknown_model_is_refused_before_any_work():
    detector = FakeFaceDetector()

    with pytest.raises(ModelNotFound, match="arcface, facenet"):
        await face_service(detector).embed([picture(1)], FaceQuery(models=("vgg",)))

    assert detector.asked == []


async def test_a_query_cannot_ask_for_more_faces_than_the_service_allows():
    detector = FakeFaceDetector()

    await face_service(detector).detect([picture(1)], FaceQuery(max_faces=10**6, min_score=0.1))

    [(_, options, _)] = detector.asked
    assert (options.max_faces, options.min_score, options.det_size) == (200, 0.1, 640)


async def test_a_min_score_below_the_floor_is_refused_by_name():
    detector = FakeFaceDetector()

    with pytest.raises(InvalidInput, match=r"min_score of at least 0\.1, got 0\.05"):
        await face_service(detector).detect([picture(1)], FaceQuery(min_score=0.05))

    assert detector.asked == []


async def test_an_image_whose_faces_cannot_be_embedded_fails_alone():
    class Tight(CountingEmbedder):
        async def embed(self, crops, *, lane=Lane.INTERACTIVE):
            vectors = await super().embed(crops, lane=lane)
            if len(crops) > 2:
                raise OutOfMemory("no memory for three faces")
            return vectors

    images = [picture(2), picture(3), picture(0), b"noise"]
    outcomes = await service_with(Tight()).embed(images, FaceQuery())

    assert len(outcomes[0].embeddings) == 2
    assert isinstance(outcomes[1], OutOfMemory)
    assert outcomes[2].embeddings == ()
    assert isinstance(outcomes[3], UndecodableImage)


async def test_an_overload_is_not_tried_again_image_by_image():
    class Busy(CountingEmbedder):
        async def embed(self, crops, *, lane=Lane.INTERACTIVE):
            await super().embed(crops, lane=lane)
            raise Overloaded("too many faces wait")

    embedder = Busy()
    with pytest.raises(Overloaded):
        await service_with(embedder).embed([picture(2), picture(3)], FaceQuery())

    assert len(embedder.calls) == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"min_score": -0.1}, {"min_score": 1.1}, {"min_score": float("nan")},
        {"min_score": float("inf")}, {"max_faces": 0}, {"max_faces": -1}, {"det_size": 641},
        {"det_size": "640"},
    ],
)  # fmt: skip
def test_a_query_out_of_its_range_is_refused_whoever_writes_it(asked):
    with pytest.raises(InvalidInput, match=next(iter(asked))):
        FaceQuery(**asked)


@pytest.mark.parametrize("asked", [{"min_score": 0}, {"min_score": 1.0}, {"det_size": "auto"}])
def test_a_query_may_go_to_the_ends_of_its_range(asked):
    FaceQuery(**asked)
