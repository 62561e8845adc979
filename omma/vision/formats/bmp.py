"""BMP, through OpenCV, whose run-length decoder is not Python; bit fields by their masks."""

import struct

import cv2
import numpy as np
from jaxtyping import UInt8

from omma.domain.errors import TruncatedImage, UndecodableImage
from omma.vision.formats.raster import STRIP_ROWS, shrink
from omma.vision.headers import ImageFormat, ImageHeader, make_header

MAGIC = b"BM"
FILE_HEADER_BYTES = 14
CORE_HEADER_BYTES = 12  # OS/2's, with 16-bit sizes
OS2_HEADER_BYTES = 64  # whose compression 3 is no bit fields
BIT_FIELDS = frozenset({3, 6})  # compressions: without and with a mask for alpha
MASKS_AT = 54  # whether inside the header or behind it
MASKS_OF_16_BITS = (0x7C00, 0x03E0, 0x001F)


def read_header(data: bytes, max_frames: int) -> ImageHeader:
    """Width and height; a negative height stands for rows from the top."""
    del max_frames  # there is one
    (header_bytes,) = struct.unpack_from("<L", data, FILE_HEADER_BYTES)
    sizes = "<HH" if header_bytes == CORE_HEADER_BYTES else "<ll"
    width, height = struct.unpack_from(sizes, data, 18)
    return make_header(ImageFormat.BMP, (width, abs(height)))


def read_pixels(data: bytes, header: ImageHeader, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """The image without its alpha, which most writers leave at zero."""
    masks, bits = _masks(data)
    if masks:
        return shrink(_masked(data, header.stored_wh, masks, bits), reduction)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None or pixels.shape[:2] != header.stored_wh[::-1]:
        if struct.unpack_from("<L", data, 2)[0] > len(data):
            raise TruncatedImage("a BMP that is shorter than it says")
        raise UndecodableImage("a damaged BMP, or one of a kind that is not read")
    return shrink(pixels, reduction)


def _masks(data: bytes) -> tuple[tuple[int, ...], int]:
    """Masks of red, green and blue, and the bits of a pixel; none where OpenCV needs none."""
    (header_bytes,) = struct.unpack_from("<L", data, FILE_HEADER_BYTES)
    if header_bytes == CORE_HEADER_BYTES:
        (bits,), compression = struct.unpack_from("<H", data, 24), 0
    else:
        bits, compression = struct.unpack_from("<HL", data, 28)
    if compression not in BIT_FIELDS:
        return (MASKS_OF_16_BITS if bits == 16 and not compression else ()), bits  # noqa: PLR2004
    masks = struct.unpack_from("<LLL", data, MASKS_AT)
    sound = all(
        0 < mask < 1 << bits and not _most(mask) & (_most(mask) + 1) for mask in masks
    )  # each of bits that lie side by side
    if header_bytes == OS2_HEADER_BYTES or bits not in (16, 32) or not sound:
        raise UndecodableImage("a BMP of bit fields that are not read")
    return masks, bits


def _masked(
    data: bytes, wh: tuple[int, int], masks: tuple[int, ...], bits: int
) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels under ``masks``, strip by strip, so that no wide copy of the image is held."""
    width, height = wh
    (start,) = struct.unpack_from("<L", data, 10)
    stride = -(-width * bits // 32) * 4
    if start + stride * height > len(data):
        raise TruncatedImage("a BMP that ends before its last row")
    rows = np.frombuffer(data, np.uint8, stride * height, start).reshape(height, stride)
    if not _is_top_down(data):
        rows = rows[::-1]
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, STRIP_ROWS):
        strip = np.ascontiguousarray(rows[top : top + STRIP_ROWS]).view(f"<u{bits // 8}")[:, :width]
        for channel, mask in enumerate(masks):
            pixels[top : top + STRIP_ROWS, :, channel] = _scaled(strip, mask)
    return pixels


def _scaled(values: np.ndarray, mask: int) -> UInt8[np.ndarray, "h w"]:
    """What a mask leaves of each value, as 0 to 255."""
    most, shift = _most(mask), (mask & -mask).bit_length() - 1
    surplus = max(most.bit_length() - 8, 0)
    table = np.rint(np.linspace(0, 255, (most >> surplus) + 1)).astype(np.uint8)
    return table[(values & values.dtype.type(mask)) >> (shift + surplus)]


def _most(mask: int) -> int:
    """The largest value that a mask leaves, shifted down."""
    return mask // (mask & -mask)


def _is_top_down(data: bytes) -> bool:
    (header_bytes,) = struct.unpack_from("<L", data, FILE_HEADER_BYTES)
    return header_bytes != CORE_HEADER_BYTES and struct.unpack_from("<l", data, 22)[0] < 0
