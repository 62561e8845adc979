"""Recognition of cards by local features: SIFT, an inverted file of their codes, geometry."""

from omma.engines.cards.engines import SiftCardEngines
from omma.engines.cards.options import CardEngineOptions

__all__ = ["CardEngineOptions", "SiftCardEngines"]
