import time

import cv2
import numpy as np
import pytest

from omma.domain.errors import OmmaError
from omma.vision.images import ImageLimits, decode, probe
from tests.mutants import mutants, opinions, turns
from tests.samples import FORMATS

COUNT = 500
CPU_S = 2
TOLERANCE = 3  # decoders round differently


def read(data: bytes) -> np.ndarray:
    return decode(data, probe(data, ImageLimits()))


def is_near(pixels: np.ndarray, other: np.ndarray) -> bool:
    return pixels.shape == other.shape and cv2.absdiff(pixels, other).mean() < TOLERANCE


@pytest.mark.parametrize("kind", FORMATS)
def test_a_mutant_is_read_as_others_read_it_or_refused(kind):
    decoded = 0

    for number, (original, mutant) in enumerate(mutants(kind, COUNT)):
        started = time.process_time()
        try:
            pixels = read(mutant)
        except OmmaError:
            continue
        finally:
            assert time.process_time() - started < CPU_S, number
        decoded += 1
        others = opinions(kind, mutant) or turns(read(original))
        assert any(is_near(pixels, np.ascontiguousarray(other)) for other in others), number

    assert COUNT / 10 < decoded < COUNT


def test_mutants_are_the_same_every_time():
    assert list(mutants("PNG", 20)) == list(mutants("PNG", 20))
    assert list(mutants("PNG", 20)) != list(mutants("PNG", 20, seed=1))
