"""GIF: the first frame is found by walking the blocks, and alone reaches the decoder."""

import struct
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from omma.domain.errors import TruncatedImage, UndecodableImage
from omma.vision.formats.raster import pillow_pixels
from omma.vision.headers import ImageFormat, ImageHeader, make_header, part_limit

MAGICS = (b"GIF87a", b"GIF89a")
SCREEN_BYTES = 13  # magic and logical screen
EXTENSION, IMAGE, TRAILER = 0x21, 0x2C, 0x3B
GRAPHIC_CONTROL = b"\x21\xf9"


@dataclass(slots=True)
class _Layout:
    """Where the first frame lies."""

    prefix_end: int  # of screen and global palette
    control: tuple[int, int] = (0, 0)  # the last graphic control before the first frame
    frame: tuple[int, int] = (0, 0)


def read_header(data: bytes, max_frames: int) -> ImageHeader:
    """The canvas: the logical screen, grown where the first frame is larger, as viewers do."""
    del max_frames  # frames behind the first cost nothing
    layout = _walk(data)
    width, height = struct.unpack_from("<HH", data, 6)
    left, top, frame_width, frame_height = struct.unpack_from("<xHHHH", data, layout.frame[0])
    size = max(width, left + frame_width), max(height, top + frame_height)
    return make_header(ImageFormat.GIF, size)


def read_pixels(data: bytes, header: ImageHeader, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """The first frame on the canvas."""
    layout = _walk(data)
    spans = ((0, layout.prefix_end), layout.control, layout.frame)
    still = b"".join(data[start:end] for start, end in spans)
    return pillow_pixels(still + bytes([TRAILER]), header, reduction)


def _walk(data: bytes) -> _Layout:
    """Walk the blocks as far as the end of the first frame.

    What follows may be damaged: viewers show the frame.
    """
    position = SCREEN_BYTES + _palette_bytes(data, 10)
    layout = _Layout(prefix_end=position)
    budget = part_limit(data)
    while position < len(data) and (header := _block_header(data, position)):
        start = position
        position, budget = _skip(data, position + header, budget)
        if data[start] == IMAGE:
            layout.frame = start, position
            return layout
        if data.startswith(GRAPHIC_CONTROL, start):
            layout.control = start, position
    if position < len(data):
        raise UndecodableImage("a GIF without a frame")
    raise TruncatedImage("a GIF that ends before its first frame")


def _block_header(data: bytes, position: int) -> int:
    """Bytes of a block before its data; 0 for the trailer, and for what is no block."""
    if data[position] == EXTENSION:
        return 2
    if data[position] == IMAGE:
        return 10 + _palette_bytes(data, position + 9) + 1
    return 0


def _palette_bytes(data: bytes, position: int) -> int:
    (flags,) = struct.unpack_from("B", data, position)
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip(data: bytes, position: int, budget: int) -> tuple[int, int]:
    """Step over length-prefixed pieces to the empty one; data may end before it."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
        budget -= 1
        if budget < 0:
            raise UndecodableImage("a GIF of too many blocks")
    return position + 1, budget
