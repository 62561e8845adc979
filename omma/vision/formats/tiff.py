"""TIFF: first page; its directories are checked before Pillow reads them."""

import struct

import numpy as np
from jaxtyping import UInt8

from omma.domain.errors import UndecodableImage
from omma.vision.formats.raster import pillow_pixels
from omma.vision.headers import (
    EXIF_ORIENTATION,
    IFD_ENTRY_BYTES,
    ImageFormat,
    ImageHeader,
    ifd_entries,
    make_header,
    open_tiff,
)

MAGICS = (b"II*\0", b"MM\0*")

# TIFF 6.0, section 2: bytes of a value by its type
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
WIDTH, HEIGHT = 0x0100, 0x0101
SUB_DIRECTORIES = frozenset({0x8769, 0x8825, 0xA005, 0x014A})  # EXIF, GPS, interoperability
MAX_DEPTH = 2


def read_header(data: bytes, max_frames: int) -> ImageHeader:
    """Size and turn of the first page, and the number of pages."""
    order, first = open_tiff(data)
    if _payload_bytes(data, order, first) > len(data):
        raise UndecodableImage("a TIFF whose tags claim more than the file holds")
    tags = {
        tag: _number(order, kind, value)
        for tag, kind, _count, value in ifd_entries(data, order, first)
    }
    size = tags.get(WIDTH, 0), tags.get(HEIGHT, 0)
    upright = make_header(ImageFormat.TIFF, size, orientation=tags.get(EXIF_ORIENTATION, 1))
    pages = _pages(data, order, first, max_frames + 1)
    return ImageHeader(ImageFormat.TIFF, upright.width_px, upright.height_px, pages)


def read_pixels(data: bytes, header: ImageHeader, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """The first page, which Pillow turns upright itself."""
    return pillow_pixels(data, header, reduction)


def _pages(data: bytes, order: str, offset: int, most: int) -> int:
    seen: set[int] = set()
    while offset and len(seen) < most:
        if offset in seen:
            raise UndecodableImage("a TIFF whose pages form a loop")
        seen.add(offset)
        (count,) = struct.unpack_from(order + "H", data, offset)
        (offset,) = struct.unpack_from(order + "L", data, offset + 2 + count * IFD_ENTRY_BYTES)
    return len(seen)


def _payload_bytes(data: bytes, order: str, offset: int, depth: int = 0) -> int:
    """Bytes that the tags of a directory and of those below it say they hold outside of it."""
    total = 0
    for tag, kind, count, value in ifd_entries(data, order, offset):
        size = count * TYPE_BYTES.get(kind, 0)
        total += size if size > len(value) else 0
        if tag in SUB_DIRECTORIES and depth < MAX_DEPTH:
            total += _payload_bytes(data, order, _number(order, 4, value), depth + 1)
    return total


def _number(order: str, kind: int, value: bytes) -> int:
    formats = {1: "B", 3: "H", 4: "L"}
    return struct.unpack_from(order + formats.get(kind, "L"), value)[0]
