"""Cards that were never printed: drawn from random numbers, for the sample and for measurements."""

from benchmarks.drawing.cards import draw_card
from benchmarks.drawing.samples import sample_specs
from benchmarks.drawing.specs import CardSpec

__all__ = ["CardSpec", "draw_card", "sample_specs"]
