"""PNG: first frame, or the still image that animations carry for simple viewers."""

import struct
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from omma.domain.errors import TruncatedImage, UndecodableImage
from omma.vision.formats.raster import pillow_pixels
from omma.vision.headers import (
    ImageFormat,
    ImageHeader,
    exif_orientation,
    make_header,
    part_limit,
)

MAGIC = b"\x89PNG\r\n\x1a\n"

# Text, profiles and the like are not pixels, and may be bombs of their own.
PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def read_header(data: bytes, max_frames: int) -> ImageHeader:
    """Size, the frame count that an animation states, and orientation."""
    size, frames, orientation = (0, 0), 1, 1
    for name, start, end in _chunks(data):
        if name == b"IHDR":
            size = struct.unpack_from(">LL", data, start + 8)
        elif name == b"acTL":
            frames = struct.unpack_from(">L", data, start + 8)[0]
        elif name == b"eXIf":
            orientation = exif_orientation(data[start + 8 : end - 4])
    if not data.startswith(b"IHDR", 12):
        raise UndecodableImage("a PNG that does not begin with its header")
    frames = min(max(frames, 1), max_frames + 1)
    return make_header(ImageFormat.PNG, size, frames=frames, orientation=orientation)


def read_pixels(data: bytes, header: ImageHeader, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """The image as stored."""
    parts = [data[start:end] for name, start, end in _chunks(data) if name in PIXEL_CHUNKS]
    return pillow_pixels(b"".join([MAGIC, *parts]), header, reduction)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk, length and checksum included."""
    position = len(MAGIC)
    for _ in range(part_limit(data)):
        if position + 8 > len(data):
            return
        length, name = struct.unpack_from(">L4s", data, position)
        if name == b"IHDR" and position + 12 + length > len(data):
            raise TruncatedImage("a PNG that ends inside its header")
        yield name, position, min(position + 12 + length, len(data))
        if name == b"IEND":
            return
        position += 12 + length
    raise UndecodableImage("a PNG of too many chunks")
