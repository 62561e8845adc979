"""Photographs of flat pictures with a known answer: what cameras, hands and light do to a card.

`distort` lays a picture on a table, looks at it through a pinhole camera, and spoils the photo as
photos are spoiled. The same random numbers make the same photo.
"""

from omma.vision.distortions.photographing import Distorted, distort
from omma.vision.distortions.severities import RANGES, Severity

__all__ = ["RANGES", "Distorted", "Severity", "distort"]
