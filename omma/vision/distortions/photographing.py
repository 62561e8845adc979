"""One photograph, from the card to the file."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from omma.vision.distortions.camera import add_grain, compress, defocus, move
from omma.vision.distortions.lighting import cover_with_fingers, glare, relight, shade
from omma.vision.distortions.scenes import Rgb, Scene, corners, frame, pose, project, shrink
from omma.vision.distortions.severities import RANGES, Severity
from omma.vision.distortions.surfaces import draw_table, lay, put_in_sleeve

EFFECTS: dict[str, Callable[[Rgb, Scene], Rgb]] = {  # as light comes to the sensor
    "fingers": cover_with_fingers,
    "shadow": shade,
    "glare": glare,
    "light": relight,
    "defocus": defocus,
    "motion": move,
    "noise": add_grain,
}


@dataclass(frozen=True, slots=True, eq=False)
class Distorted:
    """A photograph, and where in it the card lies."""

    image: UInt8[np.ndarray, "h w 3"]
    outline: Float32[np.ndarray, "4 2"]  # px, from the card's own top left, clockwise as it is read
    tilt: float  # degrees
    effects: tuple[str, ...]  # names of what was done to it, in order


def distort(
    image: Rgb,
    severity: Severity,
    rng: np.random.Generator,
    *,
    height_px: float | None = None,
    background: Rgb | None = None,
) -> Distorted:
    """A photograph of ``image``; the whole card is in it, at any angle.

    ``height_px`` is that of the card if it were not tilted; else it is drawn from the severity's
    range. Without a ``background`` the table is drawn.
    """
    limits = RANGES[severity]
    height = float(rng.uniform(*limits.height_px)) if height_px is None else height_px
    card = shrink(image, height)
    tilt = float(rng.uniform(*limits.tilt))
    homography = pose(card.shape[1], card.shape[0], height, tilt, rng)
    homography, width_px, height_of_photo = frame(homography, card, rng)
    outline = project(corners(float(card.shape[1]), float(card.shape[0])), homography)
    photo = draw_table(background, height_of_photo, width_px, rng)
    scene = Scene(limits, rng, outline, homography, card.shape[1], card.shape[0], height)
    effects: list[str] = []
    if rng.random() < limits.chance:
        card = put_in_sleeve(card, photo, scene)
        effects.append("sleeve")
    photo = lay(card, photo, homography)
    for name, effect in EFFECTS.items():
        if rng.random() < limits.chance:
            photo = effect(photo, scene)
            effects.append(name)
    photo = compress(photo, int(rng.integers(limits.jpeg[0], limits.jpeg[1] + 1)))
    return Distorted(photo, outline, tilt, tuple(effects))
