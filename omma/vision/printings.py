"""Printings of one art: what of a card's picture tells them apart, and how well each fits a photo.

Reprints differ in set symbol, collector line and frame. Those regions are kept of every picture;
where several cards explain the same place of a photograph, their regions are compared with it.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from omma.domain.errors import IndexCorrupt

REGION_HEIGHT_PX = 880  # of the whole card: a collector number's digits are 13 px high then
WIDEST_PX = 4 * REGION_HEIGHT_PX  # no card is, but a picture may be anything
QUALITY = 85  # of the JPEGs that are kept: about 14 kB a card
# Left, top, right, bottom as parts of the card. Halves of a line are placed by themselves, because
# a homography from features of the art is a pixel or two off at the far edge.
REGIONS = (
    (0.02, 0.900, 0.35, 0.995),  # collector line, left: number, set and language since 2014
    (0.33, 0.900, 0.67, 0.995),  # middle: artist and copyright before
    (0.65, 0.900, 0.98, 0.995),  # right
    (0.70, 0.530, 0.98, 0.650),  # set symbol, at the end of the type line
    (0.00, 0.000, 1.00, 0.110),  # border, title bar and the frame's upper corners
)
REACH_PX = 6  # a region is looked for so far beside its place
HIGH_PASS_PX = 12.0  # shading of the photograph is not the card's
CONTRAST = 0.35  # of the region's spread: printings differ where their pictures differ by so much
SPREAD_FLOOR = 4.0  # grey levels; less is paper
GRAIN_PX = 2.0  # neighbouring pixels of a sharp photograph say the same over so many
FLOOR = 1e-3  # no photograph fits better than this part of its variance


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A card in a photograph."""

    photo: UInt8[np.ndarray, "h w"]  # grey
    homography: Float[np.ndarray, "3 3"]  # from a card of 1 by 1 to px of the photo
    height_px: float  # of the card in the photo: how much detail can be there


def cut_regions(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """What tells printings of one art apart, of an RGB picture of a whole card, packed."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    width = round(REGION_HEIGHT_PX * image.shape[1] / image.shape[0])
    width = min(max(width, 1), WIDEST_PX)
    smaller = image.shape[0] > REGION_HEIGHT_PX
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    card = cv2.resize(grey, (width, REGION_HEIGHT_PX), interpolation=how)
    return b"".join(_packed(card[rows, columns]) for rows, columns in _slices(width))


def tell_apart(view: View, printings: Sequence[bytes], aspect: float) -> Float32[np.ndarray, " n"]:
    """How probable each printing is, of those given alone: sums to 1; equal where nothing tells.

    ``aspect`` is a card's width by its height. The log likelihood of a printing is that of its
    grey levels, up to gain, offset and noise, over the pixels where the printings differ:
    ``-n/2 log(1 - r^2)`` with their correlation r and n independent pixels.
    """
    evidence = np.zeros(len(printings))
    width = min(max(round(REGION_HEIGHT_PX * aspect), 1), WIDEST_PX)
    pictures = [list(_unpacked(each)) for each in printings]
    for number, (rows, columns) in enumerate(_slices(width)):
        known = [_sized(each[number], rows, columns) for each in pictures]
        evidence += _evidence(view, known, (rows, columns), width)
    odds = np.exp(evidence - evidence.max())
    return (odds / odds.sum()).astype(np.float32)


def _evidence(
    view: View,
    known: Sequence[UInt8[np.ndarray, "h w"]],
    place: tuple[slice, slice],
    width: int,
) -> Float32[np.ndarray, " n"]:
    blur_px = _blur_px(view.height_px)
    models = np.stack([_detail(each, blur_px) for each in known])
    differs = _differing(models)
    seen = _detail(_seen(view, place, width), 0.0)
    independent = differs.sum() / (GRAIN_PX + 2 * blur_px) ** 2
    if independent < 1:
        return np.zeros(len(known), np.float32)
    fits = np.array([_best_fit(seen, each, differs) for each in models])
    return (-0.5 * independent * np.log(np.maximum(FLOOR, 1 - fits**2))).astype(np.float32)


def _differing(models: Float32[np.ndarray, "n h w"]) -> Bool[np.ndarray, "h w"]:
    spread = models.max(axis=0) - models.min(axis=0)
    least = max(SPREAD_FLOOR, CONTRAST * float(models.std()))
    apart = (spread > least).astype(np.uint8)
    return cv2.dilate(apart, np.ones((3, 3), np.uint8)).astype(bool)


def _best_fit(
    seen: Float32[np.ndarray, "y x"],
    model: Float32[np.ndarray, "h w"],
    where: Bool[np.ndarray, "h w"],
) -> float:
    """The highest correlation over all places within reach, none below 0."""
    mask = where.astype(np.float32)
    fits = cv2.matchTemplate(seen, model, cv2.TM_CCOEFF_NORMED, mask=mask)
    return float(np.clip(np.nan_to_num(fits, posinf=0.0, neginf=0.0).max(), 0.0, 1.0))


def _seen(view: View, place: tuple[slice, slice], width: int) -> UInt8[np.ndarray, "y x"]:
    """The region as the photo has it, with a rim of `REACH_PX`."""
    rows, columns = place
    left, top = columns.start - REACH_PX, rows.start - REACH_PX
    size = (columns.stop + REACH_PX - left, rows.stop + REACH_PX - top)
    onto_card = np.array(
        [
            [1 / width, 0, left / width],
            [0, 1 / REGION_HEIGHT_PX, top / REGION_HEIGHT_PX],
            [0, 0, 1],
        ]
    )
    matrix = view.homography @ onto_card
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(view.photo, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT)


def _detail(grey: UInt8[np.ndarray, "h w"], blur_px: float) -> Float32[np.ndarray, "h w"]:
    sharp = grey.astype(np.float32)
    if blur_px > 0:
        sharp = cv2.GaussianBlur(sharp, (0, 0), blur_px)
    return sharp - cv2.GaussianBlur(sharp, (0, 0), HIGH_PASS_PX)


def _blur_px(height_px: float) -> float:
    """What scaling a card down to ``height_px`` and up again does, as a Gaussian's sigma."""
    factor = REGION_HEIGHT_PX / max(height_px, 1.0)
    return 0.5 * float(np.sqrt(max(0.0, factor**2 - 1)))


def _slices(width: int) -> Iterator[tuple[slice, slice]]:
    for left, top, right, bottom in REGIONS:
        rows = slice(round(top * REGION_HEIGHT_PX), round(bottom * REGION_HEIGHT_PX))
        first = min(round(left * width), width - 1)
        yield rows, slice(first, max(first + 1, round(right * width)))


def _sized(
    picture: UInt8[np.ndarray, "y x"], rows: slice, columns: slice
) -> UInt8[np.ndarray, "h w"]:
    """As large as ``rows`` and ``columns``: scans of one card differ by a pixel or two."""
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return picture if picture.shape == size[::-1] else cv2.resize(picture, size)


def _packed(region: UInt8[np.ndarray, "h w"]) -> bytes:
    _, data = cv2.imencode(".jpg", region, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return struct.pack("<I", data.size) + data.tobytes()


def _unpacked(packed: bytes) -> Iterator[UInt8[np.ndarray, "h w"]]:
    at = 0
    for _ in REGIONS:
        if at + 4 > len(packed):
            raise IndexCorrupt(
                f"expected {len(REGIONS)} regions of a card, got {len(packed)} bytes"
            )
        (size,) = struct.unpack_from("<I", packed, at)
        data = np.frombuffer(packed[at + 4 : at + 4 + size], np.uint8)
        region = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
        if region is None:
            raise IndexCorrupt("a card's region is no JPEG")
        yield region
        at += 4 + size
