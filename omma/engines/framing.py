"""Brings an encoded image to the size that a model of whole images wants."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from omma.domain.models import Framing
from omma.vision.headers import ImageHeader
from omma.vision.images import ImageLimits, decode, probe, reduction_for

SIDES: Mapping[Framing, int] = {Framing.STRETCH_224: 224}  # px


@dataclass(frozen=True, slots=True, eq=False)
class Framed:
    """An image that waits for a model, and what it was."""

    pixels: UInt8[np.ndarray, "h w 3"]
    width_px: int  # of the upright original
    height_px: int
    decode_ms: float


def frame(data: bytes, limits: ImageLimits, framing: Framing) -> Framed:
    """Check, decode no finer than needed, and stretch; raises the domain's errors about images."""
    started = time.perf_counter()
    side = SIDES[framing]
    header = probe(data, limits)
    pixels = decode(data, header, reduction=reduction_for(header, _longer_side(header, side)))
    stretched = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    took_ms = (time.perf_counter() - started) * 1000
    return Framed(stretched, header.width_px, header.height_px, took_ms)


def _longer_side(header: ImageHeader, shorter_px: int) -> int:
    """How long the longer side is when the shorter one has ``shorter_px``."""
    shorter, longer = sorted((header.width_px, header.height_px))
    return -(-shorter_px * longer // shorter)
