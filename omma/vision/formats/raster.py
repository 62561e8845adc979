"""The door to Pillow: a file whose header was checked becomes RGB pixels."""

import warnings
from io import BytesIO

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from omma.domain.errors import UndecodableImage
from omma.vision.headers import ImageHeader

# The header was checked against the operator's limit, which may be larger than Pillow's own.
Image.MAX_IMAGE_PIXELS = None

# What is odd about a file is for its sender to know; Pillow would tell standard error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

STRIP_ROWS = 256  # a multiple of every reduction, so that strips are averaged as the whole is
GREY_16 = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
OPAQUE = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
TRANSLUCENT = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


def pillow_pixels(data: bytes, header: ImageHeader, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """Decode the first frame; refuse one whose size is not what its header said."""
    with Image.open(BytesIO(data), formats=[header.format.value]) as picture:
        if picture.size != header.stored_wh:
            raise UndecodableImage(f"expected {header.stored_wh} px, got {picture.size}")
        picture.load()
        return to_rgb(picture, reduction)


def to_rgb(picture: Image.Image, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """Eight bits a channel, transparency on white as a page shows it, averaged when reduced.

    Strip by strip, so that no second copy of the image is ever held.
    """
    width, height = picture.size
    pixels = np.empty((-(-height // reduction), -(-width // reduction), 3), np.uint8)
    for top in range(0, height, STRIP_ROWS):
        strip = picture.crop((0, top, width, min(top + STRIP_ROWS, height)))
        rows = slice(top // reduction, (top + STRIP_ROWS) // reduction)
        pixels[rows] = np.asarray(_opaque(_eight_bit(strip)).reduce(reduction))
    return pixels


def shrink(pixels: UInt8[np.ndarray, "h w 3"], reduction: int) -> UInt8[np.ndarray, "hh ww 3"]:
    """Average squares of ``reduction`` px, those that the edge cuts too, as JPEG decoders do."""
    if reduction == 1:
        return pixels
    height, width = pixels.shape[:2]
    wh = -(-width // reduction), -(-height // reduction)
    below, right = wh[1] * reduction - height, wh[0] * reduction - width
    whole = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return cv2.resize(whole, wh, interpolation=cv2.INTER_AREA)


def _eight_bit(strip: Image.Image) -> Image.Image:
    if strip.mode not in GREY_16:
        return strip
    return Image.fromarray((np.asarray(strip) >> 8).astype(np.uint8))  # Pillow would clip at 255


def _opaque(strip: Image.Image) -> Image.Image:
    if strip.mode in TRANSLUCENT or "transparency" in strip.info:
        strip = strip.convert("RGBA")
        page = Image.new("RGB", strip.size, "white")
        page.paste(strip, mask=strip.getchannel("A"))
        return page
    if strip.mode not in OPAQUE:
        raise UndecodableImage(f"expected 8 or 16 bits a channel, got mode {strip.mode!r}")
    return strip.convert("RGB")
