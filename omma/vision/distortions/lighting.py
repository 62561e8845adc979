"""What light and hands do to a photograph."""

import cv2
import numpy as np
from jaxtyping import Float32

from omma.vision.distortions import textures
from omma.vision.distortions.scenes import Rgb, Scene, blend

SKIN = ((236, 188, 160), (205, 150, 118), (150, 100, 72), (96, 62, 46))


def shade(photo: Rgb, scene: Scene) -> Rgb:
    """A shadow with a soft edge, on a part of the photo."""
    rng, (height, width) = scene.rng, photo.shape[:2]
    across = textures.gradient(height, width, float(rng.uniform(0, 2 * np.pi)))
    softness = float(rng.uniform(0.01, 0.15))
    edge = (across - float(rng.uniform(0.3, 0.7))) / softness
    dark = float(rng.uniform(0.2, 1)) * scene.limits.shadow / (1 + np.exp(-edge.clip(-20, 20)))
    return blend(photo, np.zeros(3, np.float32), dark.astype(np.float32))


def glare(photo: Rgb, scene: Scene) -> Rgb:
    """A lamp's reflection somewhere on the card."""
    rng = scene.rng
    x, y = scene.at(*rng.uniform(0.1, 0.9, 2))
    angle = rng.uniform(0, np.pi)
    long, short = rng.uniform(0.12, 0.35) * scene.height_px, rng.uniform(0.05, 0.15)
    dx = np.arange(photo.shape[1], dtype=np.float32)[None] - x
    dy = np.arange(photo.shape[0], dtype=np.float32)[:, None] - y
    along, aside = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    spot = np.exp(-((along / long) ** 2) - (aside / (short * scene.height_px)) ** 2)
    light = spot * scene.limits.glare * float(rng.uniform(0.5, 1))
    return blend(photo, np.full(3, 255, np.float32), light.astype(np.float32))


def cover_with_fingers(photo: Rgb, scene: Scene) -> Rgb:
    """Finger tips that reach over the card's edge."""
    rng = scene.rng
    skin = np.array(SKIN[rng.integers(len(SKIN))], np.float32)
    middle = scene.outline.mean(0)
    for _ in range(int(rng.integers(1, scene.limits.fingers + 1))):
        side, along = int(rng.integers(4)), float(rng.uniform(0.1, 0.9))
        start = scene.outline[side] * (1 - along) + scene.outline[(side + 1) % 4] * along
        inward = (middle - start) / max(float(np.linalg.norm(middle - start)), 1e-6)
        size = scene.height_px * 0.7 * float(rng.uniform(0.6, 1)) * scene.limits.finger
        tip = start + inward * size * float(rng.uniform(0.3, 1.3))
        sideways = np.array([-inward[1], inward[0]], np.float32) * float(rng.uniform(-0.6, 0.6))
        root = start - (inward + sideways) * 4 * size
        photo = _finger(photo, root, tip, size, skin)
    return photo


def _finger(
    photo: Rgb,
    root: Float32[np.ndarray, " 2"],
    tip: Float32[np.ndarray, " 2"],
    width_px: float,
    skin: Float32[np.ndarray, " 3"],
) -> Rgb:
    mask = np.zeros(photo.shape[:2], np.uint8)
    ends = [(int(x), int(y)) for x, y in np.rint(np.stack([root, tip]))]
    cv2.line(mask, ends[0], ends[1], 255, max(2, round(width_px)), cv2.LINE_AA)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 3) / max(width_px / 2, 1)
    shaded = skin[None, None] * (0.55 + 0.45 * np.sqrt(inside.clip(0, 1)))[..., None]
    return blend(photo, shaded.astype(np.float32), mask.astype(np.float32) / 255)


def relight(photo: Rgb, scene: Scene) -> Rgb:
    """Another lamp: contrast, brightness, gamma and the colour of white."""
    rng, reach = scene.rng, scene.limits.contrast
    values = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.uniform(-reach, reach))
    gain = rng.uniform(1 - reach, 1 + reach / 2) * (1 + rng.uniform(-reach, reach, 3) / 3)
    table = (values * gain + rng.uniform(0, reach / 3)).clip(0, 1) * 255
    return cv2.LUT(photo, table.astype(np.uint8)[None])
