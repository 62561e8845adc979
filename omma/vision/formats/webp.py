"""WebP, through OpenCV: in a fifth of Pillow's time and a third of its memory."""

import struct
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from omma.domain.errors import TruncatedImage, UndecodableImage
from omma.vision.formats.raster import shrink, to_rgb
from omma.vision.headers import (
    ImageFormat,
    ImageHeader,
    exif_orientation,
    make_header,
    part_limit,
)

BGRA_CHANNELS = 4
FRAMES = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
PIXEL_CHUNKS = frozenset({b"VP8X", b"ANIM", b"ALPH", *FRAMES})


def read_header(data: bytes, max_frames: int) -> ImageHeader:
    """The canvas and orientation."""
    del max_frames  # frames behind the first are never decoded
    size: tuple[int, int] | None = None
    orientation = 1
    for name, start, length in _chunks(data):
        if name in _SIZES and size is None:
            size = _SIZES[name](data, start)
        if name == b"EXIF":
            orientation = exif_orientation(data[start : start + length])
    if size is None:
        raise UndecodableImage("a WebP without an image")
    return make_header(ImageFormat.WEBP, size, orientation=orientation)


def read_pixels(data: bytes, header: ImageHeader, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """The first frame as stored."""
    pixels = cv2.imdecode(np.frombuffer(_first_frame(data), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != header.stored_wh[::-1]:
        raise UndecodableImage("a damaged WebP")
    if pixels.shape[2] == BGRA_CHANNELS:
        translucent = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA, dst=pixels)
        return to_rgb(Image.fromarray(translucent), reduction)
    return shrink(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels), reduction)


def _first_frame(data: bytes) -> bytes:
    """A file of the chunks that the first frame's pixels need, and of no others."""
    parts: list[bytes] = []
    for name, start, length in _chunks(data):
        if name in PIXEL_CHUNKS:
            if start + length > len(data):
                raise TruncatedImage("a WebP that ends inside its image")
            parts.append(data[start - 8 : start + length] + bytes(length & 1))
        if name in FRAMES:
            _check_end(data, start + length + (length & 1))
            break
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def _check_end(data: bytes, position: int) -> None:
    """Refuse a frame that no chunk follows, but other bytes: some of its own are missing."""
    end = struct.unpack_from("<L", data, 4)[0] + 8
    following = data[position : min(position + 4, end)]
    if len(following) == 4 and not (following.isascii() and following.decode().isprintable()):  # noqa: PLR2004
        raise UndecodableImage("a WebP whose image is not as long as it says")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each chunk's payload."""
    position = 12
    for _ in range(part_limit(data)):
        if position + 8 > len(data):
            return
        name, length = struct.unpack_from("<4sL", data, position)
        yield name, position + 8, length
        position += 8 + length + (length & 1)
    raise UndecodableImage("a WebP of too many chunks")


def _extended(data: bytes, start: int) -> tuple[int, int]:
    low_w, high_w, low_h, high_h = struct.unpack_from("<4xHBHB", data, start)
    return (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1


def _lossy(data: bytes, start: int) -> tuple[int, int]:
    width, height = struct.unpack_from("<6xHH", data, start)
    return width & 0x3FFF, height & 0x3FFF  # the upper bits ask for scaling


def _lossless(data: bytes, start: int) -> tuple[int, int]:
    (bits,) = struct.unpack_from("<xL", data, start)
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


_SIZES = {b"VP8X": _extended, b"VP8 ": _lossy, b"VP8L": _lossless}
