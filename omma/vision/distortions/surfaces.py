"""What a card lies on, and in: a table, a sleeve."""

import cv2
import numpy as np
from jaxtyping import Float64

from omma.vision.distortions import textures
from omma.vision.distortions.scenes import Rgb, Scene, blend, corners, project

CORNER = 0.045  # radius of a card's corner in parts of its width


def draw_table(background: Rgb | None, height: int, width: int, rng: np.random.Generator) -> Rgb:
    """``background`` in that size, or a table of random material."""
    if background is not None:
        return cv2.resize(background, (width, height), interpolation=cv2.INTER_AREA)
    kind = rng.choice(["plain", "clouds", "wood", "cloth", "stones"])
    fine = textures.noise(rng, height, width, cells=24, octaves=3)
    match kind:
        case "plain":
            field = textures.gradient(height, width, float(rng.uniform(0, 6.3))) * 0.7 + fine * 0.1
        case "wood":
            field = textures.noise(rng, height, width, cells=2, octaves=3)
            along = np.linspace(0, float(rng.uniform(4, 9)), height, dtype=np.float32)[:, None]
            field = np.abs(np.sin(6 * field + 6 * along)) * 0.7 + fine * 0.3
        case "cloth":
            step = float(rng.uniform(2, 6))
            across = np.sin(np.arange(width, dtype=np.float32) * 2 * np.pi / step)[None]
            down = np.sin(np.arange(height, dtype=np.float32) * 2 * np.pi / step)[:, None]
            field = 0.4 + 0.15 * across * down + fine * 0.3
        case "stones":
            values, _ = textures.voronoi(rng, height, width, count=int(rng.integers(20, 200)))
            field = values * 0.7 + fine * 0.3
        case _:
            field = textures.noise(rng, height, width, cells=4, octaves=6)
    return textures.paint(field.astype(np.float32), textures.palette(rng, colours=3))


def put_in_sleeve(card: Rgb, photo: Rgb, scene: Scene) -> Rgb:
    """Draw the sleeve's rim around the card, and its haze and reflections on it."""
    rng, width, height = scene.rng, scene.card_width, scene.card_height
    rim = 0.03 * width
    outer = corners(width + 2 * rim, height + 2 * rim) - rim
    colour = [int(value) for value in rng.integers(10, 230, 3)]
    cv2.fillPoly(photo, [np.rint(project(outer, scene.homography)).astype(np.int32)], colour)
    across = textures.gradient(height, width, float(rng.uniform(0, 2 * np.pi)))
    light = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        place, spread = rng.uniform(0, 1), rng.uniform(0.02, 0.09)
        light += float(rng.uniform(0.2, 0.5)) * np.exp(-(((across - place) / spread) ** 2))
    haze = (light * scene.limits.glare + float(rng.uniform(0, 0.12))).clip(0, 0.9)
    return blend(card, np.full(3, 255, np.float32), haze.astype(np.float32))


def lay(card: Rgb, photo: Rgb, homography: Float64[np.ndarray, "3 3"]) -> Rgb:
    """The card over the photo, with its round corners."""
    height, width = card.shape[:2]
    wh = (photo.shape[1], photo.shape[0])
    radius = round(CORNER * width)
    mask = np.zeros((height, width), np.uint8)
    cv2.rectangle(mask, (radius, 0), (width - radius - 1, height - 1), 255, -1)
    cv2.rectangle(mask, (0, radius), (width - 1, height - radius - 1), 255, -1)
    for x in (radius, width - radius - 1):
        for y in (radius, height - radius - 1):
            cv2.circle(mask, (x, y), radius, 255, -1)
    seen = cv2.warpPerspective(
        card, homography, wh, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    alpha = cv2.warpPerspective(mask, homography, wh, flags=cv2.INTER_LINEAR)
    return blend(photo, seen, alpha.astype(np.float32) / 255)
