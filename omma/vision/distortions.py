"""Photographs of flat pictures with a known answer: what cameras, hands and light do to a card.

`distort` lays a picture on a table, looks at it through a pinhole camera, and spoils the photo as
photos are spoiled. The same random numbers make the same photo.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from omma.vision.drawing import textures

Rgb = UInt8[np.ndarray, "_ _ 3"]

CORNER = 0.045  # radius of a card's corner in parts of its width
DISTANCE = (1.6, 3.5)  # of the camera, in heights of the card: a card that fills a phone's photo
REFERENCE_PX = 400  # card height for which blur is given; a larger card is blurred as much more
SKIN = ((236, 188, 160), (205, 150, 118), (150, 100, 72), (96, 62, 46))


class Severity(StrEnum):
    """How bad a photograph is."""

    MODERATE = "moderate"  # taken with some care
    SEVERE = "severe"


@dataclass(frozen=True, slots=True)
class _Range:
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
    Severity.MODERATE: _Range(
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
    Severity.SEVERE: _Range(
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
    card = _shrink(image, height)
    tilt = float(rng.uniform(*limits.tilt))
    homography = _pose(card.shape[1], card.shape[0], height, tilt, rng)
    homography, width_px, height_of_photo = _frame(homography, card, rng)
    outline = project(corners(float(card.shape[1]), float(card.shape[0])), homography)
    photo = _table(background, height_of_photo, width_px, rng)
    scene = _Scene(limits, rng, outline, homography, card.shape[1], card.shape[0], height)
    effects: list[str] = []
    if rng.random() < limits.chance:
        card = _sleeve(card, photo, scene)
        effects.append("sleeve")
    photo = _lay(card, photo, homography)
    for name, effect in EFFECTS.items():
        if rng.random() < limits.chance:
            photo = effect(photo, scene)
            effects.append(name)
    photo = _jpeg(photo, int(rng.integers(limits.jpeg[0], limits.jpeg[1] + 1)))
    return Distorted(photo, outline, tilt, tuple(effects))


def corners(width: float, height: float) -> Float64[np.ndarray, "4 2"]:
    """Of a picture of that size: from the top left, clockwise."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def project(
    points: Float64[np.ndarray, "n 2"], homography: Float64[np.ndarray, "3 3"]
) -> Float32[np.ndarray, "n 2"]:
    """Where the points are in the photo."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return (mapped[:, :2] / mapped[:, 2:]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What an effect has to know."""

    limits: _Range
    rng: np.random.Generator
    outline: Float32[np.ndarray, "4 2"]
    homography: Float64[np.ndarray, "3 3"]  # from card px to photo px
    card_width: int
    card_height: int
    height_px: float

    @property
    def scale(self) -> float:
        return self.height_px / REFERENCE_PX

    def at(self, x: float, y: float) -> Float32[np.ndarray, " 2"]:
        """The photo's px of a place on the card, in parts of its width and height."""
        place = np.array([[x * self.card_width, y * self.card_height]], np.float64)
        return project(place, self.homography)[0]


def _shrink(image: Rgb, height_px: float) -> Rgb:
    """Averaged down to little more than it will be seen at, so that nothing aliases."""
    scale = 1.2 * height_px / image.shape[0]
    if scale >= 1:
        return image
    wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, wh, interpolation=cv2.INTER_AREA)


def _pose(
    width: int, height: int, height_px: float, tilt: float, rng: np.random.Generator
) -> Float64[np.ndarray, "3 3"]:
    """The homography of a pinhole camera that looks at the middle of a tilted, turned card."""
    distance = float(rng.uniform(*DISTANCE)) * height
    focal = height_px * distance / height
    axis = float(rng.uniform(0, 2 * np.pi))
    lean = np.array([np.cos(axis), np.sin(axis), 0.0]) * np.deg2rad(tilt)
    turn = np.array([0.0, 0.0, rng.uniform(0, 2 * np.pi)])
    rotation = np.asarray(cv2.Rodrigues(lean)[0] @ cv2.Rodrigues(turn)[0], np.float64)
    centred = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    extrinsic = np.column_stack([rotation[:, 0], rotation[:, 1], [0, 0, distance]])
    return np.diag([focal, focal, 1.0]) @ extrinsic @ centred


def _frame(
    homography: Float64[np.ndarray, "3 3"], card: Rgb, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, "3 3"], int, int]:
    """Move the card into a photo that is larger than it; its width and height in px."""
    outline = project(corners(float(card.shape[1]), float(card.shape[0])), homography)
    low, high = outline.min(0), outline.max(0)
    before, after = (rng.uniform(0.04, 0.35, 2) * (high - low) for _ in range(2))
    shift = np.eye(3)
    shift[:2, 2] = before - low
    width, height = (int(side) for side in np.ceil(high - low + before + after))
    return shift @ homography, width, height


def _table(background: Rgb | None, height: int, width: int, rng: np.random.Generator) -> Rgb:
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


def _sleeve(card: Rgb, photo: Rgb, scene: _Scene) -> Rgb:
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
    return _blend(card, np.full(3, 255, np.float32), haze.astype(np.float32))


def _lay(card: Rgb, photo: Rgb, homography: Float64[np.ndarray, "3 3"]) -> Rgb:
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
    return _blend(photo, seen, alpha.astype(np.float32) / 255)


def _shade(photo: Rgb, scene: _Scene) -> Rgb:
    """A shadow with a soft edge, on a part of the photo."""
    rng, (height, width) = scene.rng, photo.shape[:2]
    across = textures.gradient(height, width, float(rng.uniform(0, 2 * np.pi)))
    softness = float(rng.uniform(0.01, 0.15))
    edge = (across - float(rng.uniform(0.3, 0.7))) / softness
    dark = float(rng.uniform(0.2, 1)) * scene.limits.shadow / (1 + np.exp(-edge.clip(-20, 20)))
    return _blend(photo, np.zeros(3, np.float32), dark.astype(np.float32))


def _glare(photo: Rgb, scene: _Scene) -> Rgb:
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
    return _blend(photo, np.full(3, 255, np.float32), light.astype(np.float32))


def _fingers(photo: Rgb, scene: _Scene) -> Rgb:
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
    return _blend(photo, shaded.astype(np.float32), mask.astype(np.float32) / 255)


def _light(photo: Rgb, scene: _Scene) -> Rgb:
    """Another lamp: contrast, brightness, gamma and the colour of white."""
    rng, reach = scene.rng, scene.limits.contrast
    values = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.uniform(-reach, reach))
    gain = rng.uniform(1 - reach, 1 + reach / 2) * (1 + rng.uniform(-reach, reach, 3) / 3)
    table = (values * gain + rng.uniform(0, reach / 3)).clip(0, 1) * 255
    return cv2.LUT(photo, table.astype(np.uint8)[None])


def _defocus(photo: Rgb, scene: _Scene) -> Rgb:
    sigma = float(scene.rng.uniform(0.2, 1)) * scene.limits.blur_px * scene.scale
    return cv2.GaussianBlur(photo, (0, 0), max(sigma, 0.1))


def _motion(photo: Rgb, scene: _Scene) -> Rgb:
    """The camera moved by some px in one direction while it looked."""
    way = float(scene.rng.uniform(0.3, 1)) * scene.limits.motion_px * scene.scale
    angle = scene.rng.uniform(0, np.pi)
    half = int(np.ceil(way / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    reach = np.array([np.cos(angle), np.sin(angle)]) * way / 2
    ends = [(int(x), int(y)) for x, y in np.rint((np.stack([-reach, reach]) + half) * 16)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, shift=4)
    return cv2.filter2D(photo, -1, kernel / kernel.sum())


def _grain(photo: Rgb, scene: _Scene) -> Rgb:
    rng = scene.rng
    sigma = float(rng.uniform(0.2, 1)) * scene.limits.noise
    grain = rng.standard_normal(photo.shape, np.float32) * sigma
    return (photo + grain).round().clip(0, 255).astype(np.uint8)


def _jpeg(photo: Rgb, quality: int) -> Rgb:
    bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return cv2.cvtColor(np.asarray(decoded), cv2.COLOR_BGR2RGB)


def _blend(under: np.ndarray, over: np.ndarray, alpha: Float32[np.ndarray, "h w"]) -> Rgb:
    mixed = under + (over.astype(np.float32) - under) * alpha[..., None]
    return mixed.round().clip(0, 255).astype(np.uint8)


EFFECTS: dict[str, Callable[[Rgb, _Scene], Rgb]] = {  # as light comes to the sensor
    "fingers": _fingers,
    "shadow": _shade,
    "glare": _glare,
    "light": _light,
    "defocus": _defocus,
    "motion": _motion,
    "noise": _grain,
}
