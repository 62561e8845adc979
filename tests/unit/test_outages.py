"""What is left in peace, and for how long."""

from dataclasses import dataclass

import pytest

from omma.services.attempts import Backoff
from omma.services.outages import Outages

ALL = ["reading", "hearing"]


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outages(clock):
    return Outages(Backoff(1, 8), clock=clock)


def test_nothing_is_known_against_an_operation_at_first(outages):
    assert (outages.well(ALL), outages.due()) == (ALL, "")


def test_an_operation_rests_and_is_then_probed(outages, clock):
    outages.began("reading")

    assert (outages.well(ALL), outages.due()) == (["hearing"], "")
    clock.now_s = 1.0
    assert (outages.well(ALL), outages.due()) == (["hearing"], "reading")


def test_success_ends_the_rest(outages):
    outages.began("reading")

    outages.ended("reading")

    assert outages.well(ALL) == ALL


def test_failures_of_one_round_are_one_failure(outages, clock):
    for _ in range(50):
        outages.began("reading")

    clock.now_s = 1.0
    assert outages.due() == "reading"


def test_probes_grow_rarer_up_to_a_limit(outages, clock):
    outages.began("reading")
    for _ in range(50):
        outages.probed("reading", found=True)

    clock.now_s = 8.0
    assert outages.due() == "reading"


def test_a_probe_that_found_no_job_is_made_again_as_soon(outages, clock):
    outages.began("reading")
    for _ in range(50):
        outages.probed("reading", found=False)

    clock.now_s = 1.0
    assert outages.due() == "reading"


def test_operations_are_probed_in_turn(outages, clock):
    outages.began("reading")
    clock.now_s = 1.0
    outages.began("hearing")
    clock.now_s = 3.0

    first = outages.due()
    clock.now_s = 3.0
    outages.probed(first, found=True)

    assert (first, outages.due()) == ("reading", "hearing")


def test_an_outage_may_end_while_it_is_probed(outages):
    outages.began("reading")
    outages.ended("reading")

    outages.probed("reading", found=True)

    assert outages.well(ALL) == ALL
