import subprocess
import sys

import cv2
import numpy as np
import pytest

from omma.domain.errors import EmptyImage, TooManyPixels, UndecodableImage
from omma.domain.faces import Alignment, DetectOptions
from omma.engines.fake import FakeDetector
from omma.engines.finder import FaceFinder
from omma.ports.faces import Candidates
from omma.vision.images import ImageLimits
from tests.samples import as_stored, encode, exif

BOTH = (Alignment.ARCFACE_112, Alignment.FACENET_160)
OPTIONS = DetectOptions(alignments=BOTH)

# Counted in a process of its own: the high-water mark of this one belongs to other tests.
PEAK = """
import resource
import sys

from tests.unit.test_finder import OPTIONS, find, photo


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


find(photo(640, 480, (100, 100, 200, 200)), OPTIONS)
before = peak_mb()
_, found = find(sys.stdin.buffer.read(), OPTIONS)
assert len(found.faces) == 1
print(peak_mb() - before)
"""


def photo(width, height, *boxes):
    """A dark JPEG with a bright patch at each box."""
    pixels = np.full((height, width, 3), 30, np.uint8)
    for x1, y1, x2, y2 in boxes:
        pixels[y1:y2, x1:x2] = 240
    encoded, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert encoded
    return data.tobytes()


def find(data, options, **kwargs):
    finder = FaceFinder(FakeDetector(), ImageLimits(), **kwargs)
    prepared = finder.prepare(data, options)
    [candidates] = finder.detect([prepared.pixels], [options.min_score])
    return prepared, finder.finish(prepared, candidates, options)


def test_boxes_are_in_pixels_of_the_original_at_every_reduction():
    for width, height, reduction in [(640, 480, 1), (1600, 1200, 2), (5200, 3600, 8)]:
        box = (width // 4, height // 4, width // 2, height // 2)

        prepared, found = find(photo(width, height, box), DetectOptions())

        assert prepared.photo.reduction == reduction
        assert (found.width_px, found.height_px) == (width, height)
        [face] = found.faces
        assert np.abs(face.box - box).max() < 2 * width / 640


def test_a_small_face_of_a_large_photo_is_cut_from_a_finer_decode():
    data = photo(2600, 1950, (400, 400, 560, 560))  # 160 px, of which the detector sees 39

    prepared, found = find(data, DetectOptions(alignments=BOTH))

    assert prepared.photo.reduction == 4
    sharp = found.aligned[Alignment.FACENET_160]
    assert sharp.shape == (1, 160, 160, 3)
    edge = np.abs(np.diff(sharp[0, 80, :, 0].astype(int))).max()
    assert edge > 100  # cut from a quarter of the pixels it would be a ramp
    assert found.timings_ms["decode"] > prepared.decode_ms


def test_a_large_face_needs_no_second_decode():
    data = photo(2600, 1950, (400, 400, 1700, 1700))

    prepared, found = find(data, DetectOptions(alignments=BOTH))

    assert found.timings_ms["decode"] == prepared.decode_ms


def test_the_best_faces_are_kept_and_everything_cut_is_in_their_order():
    data = photo(640, 480, (10, 10, 110, 110), (200, 200, 400, 400), (500, 20, 560, 80))
    options = DetectOptions(max_faces=2, alignments=BOTH, crops=True)

    _, found = find(data, options)

    assert [face.score for face in found.faces] == pytest.approx([0.99, 0.98])
    assert {len(crops) for crops in found.aligned.values()} == {2}
    crops = [cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR) for crop in found.crops]
    assert [crop.shape[1] for crop in crops] == pytest.approx([260, 125], abs=4)


def test_every_canvas_of_a_batch_has_its_own_threshold():
    data = photo(640, 480, (10, 10, 110, 110), (200, 200, 400, 400))
    finder = FaceFinder(FakeDetector(), ImageLimits())
    prepared = finder.prepare(data, DetectOptions())

    found = finder.detect([prepared.pixels] * 2, [0.985, 0.1])

    assert [len(candidates.scores) for candidates in found] == [1, 2]


@pytest.mark.parametrize("orientation", [2, 3, 4, 6, 7, 8])
def test_faces_of_a_turned_photo_whose_sides_do_not_divide_are_where_they_are(orientation):
    box = (400, 300, 900, 700)
    _, upright = find(photo(2603, 1951, box), OPTIONS)
    pixels = cv2.imdecode(np.frombuffer(photo(2603, 1951, box), np.uint8), cv2.IMREAD_COLOR)
    turned = encode(as_stored(pixels, orientation), "JPEG", quality=95, exif=exif(orientation))

    prepared, found = find(turned, OPTIONS)

    assert prepared.photo.reduction == 4
    assert np.abs(found.faces[0].box - upright.faces[0].box).max() < 4
    assert np.abs(found.faces[0].box - box).max() < 8
    for alignment in BOTH:
        apart = cv2.absdiff(found.aligned[alignment][0], upright.aligned[alignment][0])
        assert apart.mean() < 4


def test_a_photo_that_decodes_to_much_waits_encoded_and_still_gives_the_same_faces(monkeypatch):
    data = photo(2400, 1800, (400, 400, 700, 800))
    options = DetectOptions(det_size=1280, alignments=BOTH, crops=True)
    held, before = find(data, options)

    monkeypatch.setattr("omma.engines.finder.MAX_WAITING_BYTES", 1_000_000)
    waiting, after = find(data, options)

    assert held.photo.pixels.shape == (1800, 2400, 3)
    assert waiting.photo.pixels.size == 0
    assert after.crops == before.crops
    for alignment in BOTH:
        assert np.array_equal(after.aligned[alignment], before.aligned[alignment])


def test_a_photo_without_faces_is_never_decoded_again(monkeypatch):
    monkeypatch.setattr("omma.engines.finder.MAX_WAITING_BYTES", 0)
    finder = FaceFinder(FakeDetector(), ImageLimits())
    prepared = finder.prepare(photo(640, 480), OPTIONS)
    [candidates] = finder.detect([prepared.pixels], [0.5])
    monkeypatch.setattr("omma.engines.cutting.decode", None)  # nobody calls it

    found = finder.finish(prepared, candidates, OPTIONS)

    assert found.aligned[Alignment.ARCFACE_112].shape == (0, 112, 112, 3)


def test_the_largest_photo_allowed_costs_no_more_memory_than_its_canvas():
    data = photo(8160, 6120, (2000, 2000, 3200, 3600))

    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", PEAK], input=data, capture_output=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) < 40  # decoded as a whole it takes 150 MB


def test_boxes_are_clipped_and_those_outside_the_image_are_dropped():
    options = DetectOptions()
    finder = FaceFinder(FakeDetector(), ImageLimits())
    prepared = finder.prepare(photo(640, 480), options)
    boxes = np.array([[-20, -20, 50, 50], [600, 470, 700, 500], [10, 490, 60, 505]], np.float32)
    landmarks = (boxes[:, None, :2] + boxes[:, None, 2:]).repeat(5, axis=1) / 2
    candidates = Candidates(boxes, landmarks, np.array([0.9, 0.8, 0.7], np.float32))

    found = finder.finish(prepared, candidates, options)

    assert [face.box.tolist() for face in found.faces] == [[0, 0, 50, 50], [600, 470, 640, 480]]


def test_no_face_gives_empty_crops_of_the_right_shape():
    _, found = find(photo(640, 480), DetectOptions(alignments=BOTH, crops=True))

    assert found.faces == ()
    assert found.crops == ()
    assert found.aligned[Alignment.ARCFACE_112].shape == (0, 112, 112, 3)
    assert found.aligned[Alignment.FACENET_160].shape == (0, 160, 160, 3)


def test_the_same_photo_gives_the_same_answer_twice_asked_for_crops_or_not():
    data = photo(2600, 1950, (400, 400, 560, 560), (900, 300, 1300, 700))

    _, once = find(data, DetectOptions(alignments=(Alignment.ARCFACE_112,)))
    _, again = find(data, DetectOptions(alignments=(Alignment.ARCFACE_112,)))
    _, bare = find(data, DetectOptions())

    for found in (again, bare):
        assert [f.box.tolist() for f in found.faces] == [f.box.tolist() for f in once.faces]
        assert [f.quality for f in found.faces] == [f.quality for f in once.faces]
    left, right = (found.aligned[Alignment.ARCFACE_112] for found in (once, again))
    assert np.array_equal(left, right)


def test_canvas_follows_det_size_and_policy():
    data = photo(1600, 900)

    shapes = [
        find(data, DetectOptions(det_size=size), policy=policy)[0].pixels.shape[:2]
        for size, policy in [(320, "tight"), (640, "tight"), (640, "square"), ("auto", "tight")]
    ]

    assert shapes == [(192, 320), (384, 640), (640, 640), (736, 1280)]


def test_what_is_no_image_or_too_large_is_refused_before_the_detector():
    finder = FaceFinder(FakeDetector(), ImageLimits(max_pixels=1000))
    cases = [(b"", EmptyImage), (b"nonsense", UndecodableImage), (photo(64, 48), TooManyPixels)]

    for data, error in cases:
        with pytest.raises(error):
            finder.prepare(data, DetectOptions())


def test_auto_looks_a_second_time_only_where_a_face_could_be_too_large_for_the_first():
    finder = FaceFinder(FakeDetector(), ImageLimits())

    looks = {
        (width, size): [canvas.shape[1] for canvas in prepared.looks]
        for width in (300, 400, 640, 1280)
        for size in ("auto", 1280)
        for prepared in [finder.prepare(photo(width, 300), DetectOptions(det_size=size))]
    }

    assert looks == {
        (300, "auto"): [320], (300, 1280): [320], (400, "auto"): [416], (400, 1280): [416],
        (640, "auto"): [640, 160], (640, 1280): [640],
        (1280, "auto"): [1280, 320], (1280, 1280): [1280],
    }  # fmt: skip


@pytest.mark.parametrize("policy", ["tight", "square"])
def test_what_the_second_look_finds_is_in_pixels_of_the_original(policy):
    box = (200, 100, 1800, 1300)
    options = DetectOptions(det_size="auto")
    finder = FaceFinder(FakeDetector(), ImageLimits(), policy)
    prepared = finder.prepare(photo(1999, 1499, box), options)
    looks = [finder.detect([canvas], [options.min_score])[0] for canvas in prepared.looks]
    nothing = Candidates(looks[0].boxes[:0], looks[0].landmarks[:0], looks[0].scores[:0])

    candidates = finder.merged(prepared, [nothing, looks[1]])

    [face] = finder.finish(prepared, candidates, options).faces
    assert np.abs(face.box - box).max() < 12  # two px of a canvas of 320
