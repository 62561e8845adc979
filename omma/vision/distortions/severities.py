"""How far each distortion goes."""

from dataclasses import dataclass
from enum import StrEnum

REFERENCE_PX = 400  # card height for which blur is given; a larger card is blurred as much more


class Severity(StrEnum):
    """How bad a photograph is."""

    MODERATE = "moderate"  # taken with some care
    SEVERE = "severe"


@dataclass(frozen=True, slots=True)
class Range:
    """How far each distortion goes; each but pose and size happens with ``chance`` by itself."""

    tilt: tuple[float, float]  # degrees between the card's plane and the sensor's
    height_px: tuple[float, float]  # of the card, were it not tilted
    chance: float
    blur_px: float  # largest standard deviation at `REFERENCE_PX`
    motion_px: float  # longest way at `REFERENCE_PX`
    noise: float  # largest standard deviation, grey levels
    glare: float  # 0 to 1; 1 is white
    shadow: float  # part of the light that is lost
    fingers: int  # most of them
    finger: float  # largest width, parts of the card's
    contrast: float  # largest change
    jpeg: tuple[int, int]  # quality


RANGES = {
    Severity.MODERATE: Range(
        tilt=(0.0, 30.0),
        height_px=(320.0, 800.0),
        chance=0.35,
        blur_px=0.9,
        motion_px=3.0,
        noise=6.0,
        glare=0.6,
        shadow=0.4,
        fingers=1,
        finger=0.14,
        contrast=0.2,
        jpeg=(60, 95),
    ),
    Severity.SEVERE: Range(
        tilt=(10.0, 55.0),
        height_px=(200.0, 640.0),
        chance=0.6,
        blur_px=1.5,
        motion_px=6.0,
        noise=14.0,
        glare=0.95,
        shadow=0.65,
        fingers=3,
        finger=0.17,
        contrast=0.4,
        jpeg=(30, 90),
    ),
}
