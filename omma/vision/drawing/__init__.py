"""Cards that were never printed: drawn from random numbers, for first starts and measurements."""

from omma.vision.drawing.cards import draw_card
from omma.vision.drawing.samples import sample_specs
from omma.vision.drawing.specs import CardSpec

__all__ = ["CardSpec", "draw_card", "sample_specs"]
