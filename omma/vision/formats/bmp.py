"""BMP, through OpenCV, whose run-length decoder is not Python."""

import struct

import cv2
import numpy as np
from jaxtyping import UInt8

from omma.domain.errors import TruncatedImage, UndecodableImage
from omma.vision.formats.raster import shrink
from omma.vision.headers import ImageFormat, ImageHeader, make_header

MAGIC = b"BM"
CORE_HEADER_BYTES = 12  # OS/2's, with 16-bit sizes


def read_header(data: bytes, max_frames: int) -> ImageHeader:
    """Width and height; a negative height stands for rows from the top."""
    del max_frames  # there is one
    (header_bytes,) = struct.unpack_from("<L", data, 14)
    sizes = "<HH" if header_bytes == CORE_HEADER_BYTES else "<ll"
    width, height = struct.unpack_from(sizes, data, 18)
    return make_header(ImageFormat.BMP, (width, abs(height)))


def read_pixels(data: bytes, header: ImageHeader, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """The image without its alpha, which most writers leave at zero."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None or pixels.shape[:2] != header.stored_wh[::-1]:
        if struct.unpack_from("<L", data, 2)[0] > len(data):
            raise TruncatedImage("a BMP that is shorter than it says")
        raise UndecodableImage("a damaged BMP, or one of a kind that is not read")
    return shrink(pixels, reduction)
