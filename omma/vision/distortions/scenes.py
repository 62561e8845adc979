"""A card, lying at an angle before a pinhole camera."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from omma.vision.distortions.severities import REFERENCE_PX, Range

DISTANCE = (1.6, 3.5)  # of the camera, in heights of the card: a card that fills a phone's photo

Rgb = UInt8[np.ndarray, "_ _ 3"]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What an effect has to know."""

    limits: Range
    rng: np.random.Generator
    outline: Float32[np.ndarray, "4 2"]
    homography: Float64[np.ndarray, "3 3"]  # from card px to photo px
    card_width: int
    card_height: int
    height_px: float

    @property
    def scale(self) -> float:
        """Size of the card in parts of the one that blur is given for."""
        return self.height_px / REFERENCE_PX

    def at(self, x: float, y: float) -> Float32[np.ndarray, " 2"]:
        """The photo's px of a place on the card, in parts of its width and height."""
        place = np.array([[x * self.card_width, y * self.card_height]], np.float64)
        return project(place, self.homography)[0]


def corners(width: float, height: float) -> Float64[np.ndarray, "4 2"]:
    """Of a picture of that size: from the top left, clockwise."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def project(
    points: Float64[np.ndarray, "n 2"], homography: Float64[np.ndarray, "3 3"]
) -> Float32[np.ndarray, "n 2"]:
    """Where the points are in the photo."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return (mapped[:, :2] / mapped[:, 2:]).astype(np.float32)


def shrink(image: Rgb, height_px: float) -> Rgb:
    """Averaged down to little more than it will be seen at, so that nothing aliases."""
    scale = 1.2 * height_px / image.shape[0]
    if scale >= 1:
        return image
    wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, wh, interpolation=cv2.INTER_AREA)


def pose(
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


def frame(
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


def blend(under: np.ndarray, over: np.ndarray, alpha: Float32[np.ndarray, "h w"]) -> Rgb:
    """``over``, grey levels, laid over ``under``; ``alpha`` 1 hides what is below."""
    mixed = under + (over.astype(np.float32) - under) * alpha[..., None]
    return mixed.round().clip(0, 255).astype(np.uint8)
