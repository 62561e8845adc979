"""From encoded bytes to pixels: limits first, by header alone; then the first frame, upright."""

import re
import struct
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import UnidentifiedImageError

from omma.domain.errors import (
    EmptyImage,
    TooManyFrames,
    TooManyPixels,
    TruncatedImage,
    UndecodableImage,
)
from omma.vision.formats import bmp, gif, heif, jpeg, png, tiff, webp
from omma.vision.headers import ImageFormat, ImageHeader, ImageLimits

__all__ = [
    "ImageFormat",
    "ImageHeader",
    "ImageLimits",
    "decode",
    "origin_of",
    "probe",
    "reduction_for",
]

REDUCTIONS = (8, 4, 2, 1)

# OpenCV's flip codes, and the one that undoes each EXIF orientation, after transposing 5 to 8
HORIZONTAL, VERTICAL, BOTH = 1, 0, -1
FLIPS = {2: HORIZONTAL, 3: BOTH, 4: VERTICAL, 6: HORIZONTAL, 7: BOTH, 8: VERTICAL}

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a bad file is our error to tell


@dataclass(frozen=True, slots=True)
class _Format:
    read_header: Callable[[bytes, int], ImageHeader]
    read_pixels: Callable[[bytes, ImageHeader, int], np.ndarray]


_FORMATS = {
    ImageFormat.JPEG: _Format(jpeg.read_header, jpeg.read_pixels),
    ImageFormat.PNG: _Format(png.read_header, png.read_pixels),
    ImageFormat.WEBP: _Format(webp.read_header, webp.read_pixels),
    ImageFormat.GIF: _Format(gif.read_header, gif.read_pixels),
    ImageFormat.BMP: _Format(bmp.read_header, bmp.read_pixels),
    ImageFormat.TIFF: _Format(tiff.read_header, tiff.read_pixels),
    ImageFormat.HEIC: _Format(heif.read_heic_header, heif.read_heic_pixels),
    ImageFormat.AVIF: _Format(heif.read_avif_header, heif.read_avif_pixels),
}


def probe(data: bytes, limits: ImageLimits) -> ImageHeader:
    """Read an image's header alone and hold it to ``limits``.

    Raises `EmptyImage`, `UndecodableImage`, `TooManyPixels` or `TooManyFrames`; no pixel is
    decoded, and frames are counted no further than one past the limit.
    """
    if not data:
        raise EmptyImage("no bytes")
    with _vendor_errors():
        header = _FORMATS[sniff(data)].read_header(data, limits.max_frames)
    pixels = header.width_px * header.height_px
    if header.width_px <= 0 or header.height_px <= 0:
        raise UndecodableImage(f"{header.width_px}x{header.height_px} px hold no image")
    if pixels > limits.max_pixels:
        raise TooManyPixels(f"{pixels} pixels, expected at most {limits.max_pixels}")
    if header.frames > limits.max_frames:
        raise TooManyFrames(f"more than {limits.max_frames} frames")
    return header


def decode(data: bytes, header: ImageHeader, *, reduction: int = 1) -> UInt8[np.ndarray, "h w 3"]:
    """The first frame, upright RGB, each side divided by ``reduction`` (1, 2, 4, 8), rounded up.

    ``header`` is what `probe` answered for ``data``. Raises `TruncatedImage` or `UndecodableImage`.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"expected a reduction of 1, 2, 4 or 8, got {reduction}")
    with _vendor_errors():
        pixels = _FORMATS[header.format].read_pixels(data, header, reduction)
    return _upright(pixels, header.orientation)


def reduction_for(header: ImageHeader, target_px: int) -> int:
    """Largest of 1, 2, 4, 8 that leaves the longer side at ``target_px`` or more."""
    longer = max(header.width_px, header.height_px)
    return next((r for r in REDUCTIONS if longer >= target_px * r), 1)


def origin_of(header: ImageHeader, reduction: int) -> tuple[int, int]:
    """Where the reduced image begins in the whole, x and y in px: at 0, or a few px before it.

    Decoders start their squares at the stored origin; where turning puts that on the far side, the
    square that the edge cuts comes first.
    """
    flip = FLIPS.get(header.orientation)
    x = -(-header.width_px % reduction) if flip in (HORIZONTAL, BOTH) else 0
    y = -(-header.height_px % reduction) if flip in (VERTICAL, BOTH) else 0
    return x, y


def sniff(data: bytes) -> ImageFormat:
    """The format by its magic bytes; raises `UndecodableImage` for any that is not read."""
    for magic, kind in _MAGICS.items():
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    brands = heif.brands(data)
    if brands & heif.AVIF_BRANDS:
        return ImageFormat.AVIF
    if brands & heif.HEIC_BRANDS:
        return ImageFormat.HEIC
    expected = ", ".join(ImageFormat)
    raise UndecodableImage(f"expected one of {expected}, got bytes that begin {data[:8]!r}")


_MAGICS = {
    jpeg.MAGIC: ImageFormat.JPEG,
    png.MAGIC: ImageFormat.PNG,
    bmp.MAGIC: ImageFormat.BMP,
    **dict.fromkeys(gif.MAGICS, ImageFormat.GIF),
    **dict.fromkeys(tiff.MAGICS, ImageFormat.TIFF),
}


def _upright(pixels: UInt8[np.ndarray, "h w 3"], orientation: int) -> UInt8[np.ndarray, "hh ww 3"]:
    """Undo an EXIF orientation (CIPA DC-008, 4.6.5)."""
    if orientation >= 5:  # noqa: PLR2004 - 5 to 8 are stored on their side
        pixels = cv2.transpose(pixels)
    flip = FLIPS.get(orientation)
    return pixels if flip is None else cv2.flip(pixels, flip)


@contextmanager
def _vendor_errors() -> Generator[None]:
    """Name what decoders raise on hostile files."""
    try:
        yield
    except (EOFError, struct.error):
        raise TruncatedImage("the file ends too soon") from None
    except _DECODER_ERRORS as error:
        reason = _reason(error)
        raise (TruncatedImage if _TOO_SOON.search(reason) else UndecodableImage)(reason) from None


def _reason(error: Exception) -> str:
    if isinstance(error, (cv2.error, UnidentifiedImageError)):
        return "damaged, or of a kind that is not read"  # theirs name sources and addresses
    return next(iter(str(error).splitlines()), type(error).__name__)


_TOO_SOON = re.compile("truncated|end of file|insufficient input", re.IGNORECASE)

# What Pillow, libheif and OpenCV were seen to raise on damaged files; tests/unit proves it enough.
# UserWarning is Pillow's remark on odd TIFF tags, an error only where warnings are.
_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError,
    MemoryError, zlib.error, cv2.error, UserWarning,
)  # fmt: skip
