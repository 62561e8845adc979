"""Fields of values from 0 to 1, made of random numbers: what drawn surfaces consist of."""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

PALETTE_STEPS = 256


def noise(
    rng: np.random.Generator, height: int, width: int, *, cells: int = 3, octaves: int = 5
) -> Float32[np.ndarray, "h w"]:
    """Clouds: random grids of ``cells`` across and of ever finer ones, each half as strong."""
    field = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        across = cells << octave
        grid = rng.random((max(2, across * height // width) + 1, across + 1), np.float32)
        field += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return stretch(field)


def voronoi(
    rng: np.random.Generator, height: int, width: int, *, count: int
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Cells around random points: a value for each cell, and the distance to its point in px."""
    seeds = np.full((height, width), 255, np.uint8)
    seeds[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    distances, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    values = rng.random(count + 1, np.float32)
    return values[np.asarray(labels, np.intp)], np.asarray(distances, np.float32)


def gradient(height: int, width: int, angle: float) -> Float32[np.ndarray, "h w"]:
    """From 0 to 1 in the direction of ``angle``, radians clockwise from the x axis."""
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
    return stretch((x[None] * np.cos(angle) + y[:, None] * np.sin(angle)).astype(np.float32))


def stretch(field: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """The same field from 0 to 1."""
    low, high = float(field.min()), float(field.max())
    return ((field - low) / max(high - low, 1e-6)).astype(np.float32)


def palette(
    rng: np.random.Generator, *, colours: int = 4, hue: float | None = None
) -> UInt8[np.ndarray, "256 3"]:
    """A gradient of colours that go together, dark to bright: near hues and one apart."""
    hue = float(rng.random()) if hue is None else hue
    hues = hue + rng.uniform(-0.09, 0.09, colours)
    hues[rng.integers(colours)] += rng.choice([0.33, 0.5, -0.33])
    values = np.linspace(0.16, 0.98, colours) + rng.uniform(-0.08, 0.08, colours)
    stops = np.stack([hues % 1 * 180, rng.uniform(60, 215, colours), values.clip(0, 1) * 255], 1)
    rgb = cv2.cvtColor(stops[None].astype(np.uint8), cv2.COLOR_HSV2RGB)
    return cv2.resize(rgb, (PALETTE_STEPS, 1), interpolation=cv2.INTER_LINEAR)[0]


def paint(
    field: Float32[np.ndarray, "h w"], colours: UInt8[np.ndarray, "256 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Each value in its colour; below 0 in that of 0, above 1 in that of 1."""
    steps = saturated(field, PALETTE_STEPS - 1.0)
    return np.asarray(cv2.LUT(cv2.merge([steps, steps, steps]), colours[None]), np.uint8)


def saturated(
    values: Float32[np.ndarray, "h w *c"], factor: float = 1.0
) -> UInt8[np.ndarray, "h w *c"]:
    """Values times ``factor`` as bytes, what lies beyond them at their ends."""
    scaled = cv2.addWeighted(values, factor, values, 0, 0, dtype=cv2.CV_8U)
    return np.asarray(scaled, np.uint8)
