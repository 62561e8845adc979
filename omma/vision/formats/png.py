"""PNG: first frame, or the still image that animations carry for simple viewers."""

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import UInt8

from omma.domain.errors import TruncatedImage, UndecodableImage
from omma.vision.formats.raster import STRIP_ROWS, pillow_pixels, shrink
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

DEPTH_AT = 24  # in the file; the colour type follows
GREY, RGB = 0, 2
KEYED = frozenset({GREY, RGB})  # colour types of which tRNS names one colour


def read_header(data: bytes, max_frames: int) -> ImageHeader:
    """Size and orientation."""
    del max_frames  # an animation's frames lie in chunks that are left out
    size, orientation = (0, 0), 1
    for name, start, end in _chunks(data):
        if name == b"IHDR":
            size = struct.unpack_from(">LL", data, start + 8)
        elif name == b"eXIf":
            orientation = exif_orientation(data[start + 8 : end - 4])
    if not data.startswith(b"IHDR", 12):
        raise UndecodableImage("a PNG that does not begin with its header")
    return make_header(ImageFormat.PNG, size, orientation=orientation)


def read_pixels(data: bytes, header: ImageHeader, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """The image as stored."""
    parts = [(name, data[start:end]) for name, start, end in _chunks(data) if name in PIXEL_CHUNKS]
    key = next((part[8:-4] for name, part in parts if name == b"tRNS"), b"")
    bits, colour = struct.unpack_from(">BB", data, DEPTH_AT)
    if not key or colour not in KEYED:
        return pillow_pixels(_file(parts), header, reduction)
    opaque = [(name, part) for name, part in parts if name != b"tRNS"]
    if bits == 16:  # noqa: PLR2004 - Pillow compares 8 of them
        return shrink(_keyed(_file(opaque), header, key), reduction)
    if colour == GREY and bits < 8:  # noqa: PLR2004 - Pillow scales the pixels, but not the key
        grey = (struct.unpack_from(">H", key)[0] & (1 << bits) - 1) * 255 // ((1 << bits) - 1)
        key = struct.pack(">H", grey)
        parts = [*opaque[:1], (b"tRNS", _chunk(b"tRNS", key)), *opaque[1:]]
    return pillow_pixels(_file(parts), header, reduction)


def _file(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join([MAGIC, *(part for _, part in parts)])


def _chunk(name: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(name + payload)
    return struct.pack(">L", len(payload)) + name + payload + struct.pack(">L", checksum)


def _keyed(data: bytes, header: ImageHeader, key: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """16-bit grey or RGB, and white where it is of the colour that stands for nothing."""
    pixels = pillow_pixels(data, header, 1)  # which tells damage, where OpenCV leaves gaps
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.shape[:2] != pixels.shape[:2]:
        raise UndecodableImage("a damaged PNG")
    wanted = np.frombuffer(key, ">u2", 3 if values.ndim == 3 else 1)[::-1]  # noqa: PLR2004 - BGR
    for top in range(0, len(values), STRIP_ROWS):
        strip = np.atleast_3d(values[top : top + STRIP_ROWS])
        pixels[top : top + STRIP_ROWS][(strip == wanted).all(axis=2)] = 255
    return pixels


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
