import contextlib
import subprocess
import sys
import time

import pytest

from omma.domain.errors import OmmaError, TooManyPixels, UndecodableImage
from omma.vision.images import ImageLimits, decode, probe
from tests.hostile import COUNT, hostile_files

PEAK_MB = 100  # none of the files that are decoded is large

# Counted in a process of its own: the high-water mark of this one belongs to other tests.
GROWTH = """
import resource
from omma.domain.errors import OmmaError
from omma.vision.images import ImageLimits, decode, probe
from tests.hostile import hostile_files

files = list(hostile_files())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _, data in files * 2:
    try:
        decode(data, probe(data, ImageLimits()))
    except OmmaError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""

SOUND = (
    "16-bit",
    "CMYK",
    "P.",
    "RGBA",
    "LA.",
    "1x1",
    "20000x1",
    "1x20000",
    "exif-",
    "icc-",
    "frames-",
)
REFUSED = {"bomb-claim": TooManyPixels, "bomb-screen": TooManyPixels}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return dict(hostile_files())


def read(data: bytes) -> None:
    decode(data, probe(data, ImageLimits()))


def test_there_are_300_and_the_same_ones_every_time(files):
    again = dict(hostile_files())

    assert len(files) == COUNT == 300
    assert again == files
    assert dict(hostile_files(1)) != files


def test_each_is_decoded_or_refused_at_once(files):
    for name, data in files.items():
        started = time.process_time()

        with contextlib.suppress(OmmaError):
            read(data)

        assert time.process_time() - started < 5, name


def test_a_jpeg_of_ten_thousand_scans_is_refused_by_counting_them(files):
    with pytest.raises(UndecodableImage, match="more than 100 scans"):
        probe(files["scans-10000.jpeg"], ImageLimits())


@pytest.mark.parametrize("prefix", SOUND)
def test_what_is_only_unusual_is_decoded(files, prefix):
    chosen = [data for name, data in files.items() if name.startswith(prefix)]

    assert chosen
    for data in chosen:
        read(data)


@pytest.mark.parametrize(("prefix", "error"), REFUSED.items())
def test_what_is_too_large_is_told_as_such(files, prefix, error):
    chosen = [data for name, data in files.items() if name.startswith(prefix)]

    for data in chosen:
        with pytest.raises(error):
            read(data)


def test_all_of_them_twice_stay_within_the_memory_of_one_large_image():
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < PEAK_MB
