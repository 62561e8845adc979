"""How a card looks from afar, and whether a photograph shows that look at a place.

Cards of one set share frame, bars and symbols: dozens of keypoints that agree although the art is
another. Blocks of the whole picture, the art's most of all, tell such cards apart.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from omma.domain.errors import IndexCorrupt

WIDTH, HEIGHT = 96, 135  # px of a look, whatever the card's shape
ROWS, COLUMNS = 9, 6  # blocks of 15 by 16 px
SHARPER = 2  # times, that a photograph is brought upright at before it is shrunk
HIGH_PASS_PX = 6.0  # shading is the photograph's
PLAIN = 4.0  # grey levels that a block must vary by to say anything
NOISE = 4.0  # squared grey levels that every block varies by besides
AGREES = 0.45  # correlation of a block that shows the same; of two arts one in ten is so high
QUALITY = 80  # of the JPEG that is kept: 4 kB
MOST_SHRUNK = 2.0  # what warping passes over without harm
UPPER = slice(1, 5)  # rows of blocks that the art of most cards fills
LEAST_BLOCKS = 8  # fewer say nothing
STEPS, PRECISION, SMOOTH_PX = 20, 1e-3, 5  # of the alignment
RIM_PX, LEAST_PART_PX = 12, 40  # of the part of the photo that it looks at


@dataclass(frozen=True, slots=True)
class Agreement:
    """Parts of a look's blocks that a photo shows at a place, 0 to 1; 0 where too few count.

    Of severely distorted photographs of 65 cards the mean of both is 0.82 or more; of other cards
    laid exactly over them 0.66 in one of a thousand, never 0.79.
    """

    whole: float
    art: float  # of the upper half: another card of the same words has another picture there

    @property
    def mean(self) -> float:
        """Of both."""
        return (self.whole + self.art) / 2


def cut_look(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """What is kept of an RGB picture of a whole card."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def read_look(kept: bytes) -> UInt8[np.ndarray, "135 96"]:
    """What `cut_look` kept; raises `IndexCorrupt`."""
    look = cv2.imdecode(np.frombuffer(kept, np.uint8), cv2.IMREAD_GRAYSCALE) if kept else None
    if look is None or look.shape != (HEIGHT, WIDTH):
        raise IndexCorrupt("a card's look is no picture of its size")
    return np.asarray(look)


def agreement(
    photo: UInt8[np.ndarray, "h w"],
    homography: Float[np.ndarray, "3 3"],
    look: UInt8[np.ndarray, "135 96"],
) -> Agreement:
    """How far a grey photo shows a look at a place.

    ``homography`` leads from a card of 1 by 1 to px of the photo. Blocks that are plain or beyond
    the photo's edge do not count.
    """
    seen, is_inside = _upright(photo, homography)
    correlations, spread = _correlations(_detail(seen), _detail(look))
    counts, agrees = is_inside & (spread > PLAIN), correlations > AGREES
    whole = _part(agrees, counts)
    if counts[UPPER].sum() < LEAST_BLOCKS:
        return Agreement(whole, whole)
    return Agreement(whole, _part(agrees[UPPER], counts[UPPER]))


def align(
    photo: UInt8[np.ndarray, "h w"],
    homography: Float[np.ndarray, "3 3"],
    look: UInt8[np.ndarray, "135 96"],
) -> Float64[np.ndarray, "3 3"] | None:
    """The homography near ``homography`` under which the photo looks most like the card.

    By enhanced correlation (Evangelidis and Psarakis, 2008); None where it finds none. Worth its
    milliseconds where few keypoints, in one part of the card, left the rest a few px off.
    """
    photo, matrix = _shrunk(photo, homography, HEIGHT)
    corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]) @ matrix.T
    places = corners[:, :2] / corners[:, 2:]
    if not np.isfinite(places).all():
        return None
    low, high = (
        np.clip(ends, 0, photo.shape[::-1]).astype(int)
        for ends in (places.min(axis=0) - RIM_PX, places.max(axis=0) + RIM_PX)
    )
    part = photo[low[1] : high[1], low[0] : high[0]]
    if min(part.shape) < LEAST_PART_PX:
        return None
    onto = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]], np.float64)
    start = onto @ matrix @ np.diag([1 / WIDTH, 1 / HEIGHT, 1])
    limit = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, PRECISION)
    warp = np.asarray(start / start[2, 2], np.float32)
    everywhere = np.full(part.shape, 255, np.uint8)
    try:
        cv2.findTransformECC(
            look,
            np.ascontiguousarray(part),
            warp,
            cv2.MOTION_HOMOGRAPHY,
            limit,
            everywhere,
            SMOOTH_PX,
        )
    except cv2.error:  # it does not converge
        return None
    enlarge = homography @ np.linalg.inv(matrix)  # undoes the shrinking
    return enlarge @ np.linalg.inv(onto) @ warp @ np.diag([WIDTH, HEIGHT, 1.0])


def _part(agrees: Bool[np.ndarray, "r 6"], counts: Bool[np.ndarray, "r 6"]) -> float:
    return float(agrees[counts].mean()) if counts.sum() >= LEAST_BLOCKS else 0.0


def _upright(
    photo: UInt8[np.ndarray, "h w"], homography: Float[np.ndarray, "3 3"]
) -> tuple[UInt8[np.ndarray, "135 96"], Bool[np.ndarray, "9 6"]]:
    """The place as a look, and which of its blocks lie within the photo."""
    width, height = WIDTH * SHARPER, HEIGHT * SHARPER
    photo, homography = _shrunk(photo, homography, height)
    matrix = homography @ np.diag([1 / width, 1 / height, 1])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    large = cv2.warpPerspective(photo, matrix, (width, height), flags=flags)
    seen = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return seen, _inside(photo.shape, homography)


def _shrunk(
    photo: UInt8[np.ndarray, "h w"], homography: Float[np.ndarray, "3 3"], height: int
) -> tuple[UInt8[np.ndarray, "hh ww"], Float64[np.ndarray, "3 3"]]:
    """Halved until the card's longest side is at most twice ``height``; the homography too."""
    corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]) @ homography.T
    sides = np.diff(corners[:, :2] / corners[:, 2:], axis=0)
    shrink = float(np.linalg.norm(sides, axis=1).max()) / height
    while shrink > MOST_SHRUNK and min(photo.shape) > 1:
        photo = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        homography = np.diag([0.5, 0.5, 1.0]) @ homography
        shrink /= 2
    return photo, np.asarray(homography, np.float64)


def _inside(
    shape: tuple[int, ...], homography: Float[np.ndarray, "3 3"]
) -> Bool[np.ndarray, "9 6"]:
    """Which blocks have their middle, and half of themselves around it, in the photo."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    middles = np.stack([(x + 0.5) / COLUMNS, (y + 0.5) / ROWS, np.ones_like(x)], axis=-1)
    mapped = middles @ homography.T
    places = mapped[..., :2] / mapped[..., 2:]
    limits = np.array([shape[1], shape[0]])
    return np.asarray(((places >= 0) & (places < limits)).all(axis=-1))


def _detail(grey: UInt8[np.ndarray, "135 96"]) -> Float32[np.ndarray, "135 96"]:
    plain = grey.astype(np.float32)
    return plain - cv2.GaussianBlur(plain, (0, 0), HIGH_PASS_PX)


def _correlations(
    seen: Float32[np.ndarray, "135 96"], kept: Float32[np.ndarray, "135 96"]
) -> tuple[Float32[np.ndarray, "9 6"], Float32[np.ndarray, "9 6"]]:
    """Of each block; and how much the kept one varies, in grey levels."""
    a, b = _blocks(seen), _blocks(kept)
    a = a - a.mean(axis=-1, keepdims=True)
    b = b - b.mean(axis=-1, keepdims=True)
    spread_a, spread_b = a.std(axis=-1), b.std(axis=-1)
    return (a * b).mean(axis=-1) / (spread_a * spread_b + NOISE), spread_b


def _blocks(look: Float32[np.ndarray, "135 96"]) -> Float32[np.ndarray, "9 6 240"]:
    tall, wide = HEIGHT // ROWS, WIDTH // COLUMNS
    tiles = look.reshape(ROWS, tall, COLUMNS, wide).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles).reshape(ROWS, COLUMNS, tall * wide)
