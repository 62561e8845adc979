"""The default models on real people: known faces are identified, strangers kept apart."""

import functools

import numpy as np
import pytest

from omma.domain.faces import Alignment, DetectOptions
from omma.engines.finder import FaceFinder
from omma.vision.images import ImageLimits
from tests.weights import detector, embedder, eval_data

pytestmark = [pytest.mark.eval, pytest.mark.models]

ALIGNMENTS = {"arcface": Alignment.ARCFACE_112, "facenet": Alignment.FACENET_160}
# Left edge of each friend's face in group.jpg, in px, read off the picture by eye.
FRIENDS = {"Rachel": 59, "Monica": 273, "Ross": 463, "Chandler": 746, "Joey": 902, "Phoebe": 1134}


@functools.cache
def finder():
    return FaceFinder(detector(), ImageLimits())


@functools.cache
def recogniser(slot):
    return embedder(slot)


def embed(path, slot):
    """Faces of a picture, largest first, and their embeddings."""
    options = DetectOptions(alignments=(ALIGNMENTS[slot],))
    prepared = finder().prepare(path.read_bytes(), options)
    [candidates] = finder().detect([prepared.pixels], [options.min_score])
    found = finder().finish(prepared, candidates, options)
    widths = np.array([face.box[2] - face.box[0] for face in found.faces])
    order = np.argsort(-widths)
    vectors = recogniser(slot).run(found.aligned[ALIGNMENTS[slot]])
    return [found.faces[i] for i in order], vectors[order]


@functools.cache
def big_bang_theory(slot):
    """Names and embeddings of eight people with five pictures each, by person and picture."""
    folder = eval_data() / "faces" / "bbt"
    people = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    vectors = [[embed(file, slot)[1][0] for file in sorted(p.glob("*.png"))] for p in people]
    return np.array(vectors)


@pytest.mark.parametrize("slot", ALIGNMENTS)
def test_every_picture_identifies_its_person_whichever_one_picture_is_enrolled(slot):
    vectors = big_bang_theory(slot)
    people, pictures = vectors.shape[:2]

    for enrolled in range(pictures):
        gallery, probes = vectors[:, enrolled], np.delete(vectors, enrolled, axis=1)
        identified = (probes @ gallery.T).argmax(axis=2)

        assert (identified == np.arange(people)[:, None]).all()


@pytest.mark.parametrize("slot", ALIGNMENTS)
def test_every_picture_is_nearest_to_another_of_its_person(slot):
    vectors = big_bang_theory(slot)
    people, pictures, dimension = vectors.shape
    flat = vectors.reshape(-1, dimension)
    similarity = flat @ flat.T
    np.fill_diagonal(similarity, -1)

    nearest = similarity.argmax(axis=1) // pictures

    assert (nearest == np.arange(people).repeat(pictures)).all()


@pytest.mark.parametrize("slot", ALIGNMENTS)
def test_six_friends_are_found_and_told_apart_in_their_group_picture(slot):
    folder = eval_data() / "faces" / "friends"
    portraits = np.array([embed(folder / f"{name}.png", slot)[1][0] for name in FRIENDS])

    faces, vectors = embed(folder / "group.jpg", slot)

    assert len(faces) == len(FRIENDS)
    chosen = (portraits @ vectors.T).argmax(axis=1)
    lefts = [faces[index].box[0] for index in chosen]
    assert lefts == pytest.approx(list(FRIENDS.values()), abs=20)


def test_every_face_of_the_group_pictures_is_found():
    folder = eval_data() / "faces" / "groups"

    counts = {file.stem: len(embed(file, "arcface")[0]) for file in folder.glob("*.jpg")}

    assert counts == {
        "sample1": 3, "sample2": 3, "sample3": 3, "sample4": 4, "sample5": 5, "sample6": 4,
    }  # fmt: skip
