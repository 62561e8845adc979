"""JPEG, through OpenCV: a quarter to a half faster than Pillow, to the same pixels."""

import re
import struct
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import UInt8

from omma.domain.errors import TruncatedImage, UndecodableImage
from omma.vision.headers import (
    EXIF_MAGIC,
    ImageFormat,
    ImageHeader,
    exif_orientation,
    make_header,
    part_limit,
)

MAGIC = b"\xff\xd8\xff"

# ITU-T T.81, table B.1
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
END_OF_IMAGE = 0xD9
START_OF_SCAN = 0xDA
APP1 = 0xE1

# Each scan of a progressive file costs a walk over all its pixels, and 46 bytes make one: cameras
# and encoders write about ten. LibTIFF draws the line for the JPEGs inside of TIFFs here too.
MAX_SCANS = 100
# What ends coded data, in which neither zeros after 0xFF nor restarts (0xD0-0xD7) do.
SEGMENT_MARK = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")

# The *_COLOR_* flags ask for BGR, which excludes RGB; those named for grey only reduce.
REDUCED = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2 | cv2.IMREAD_COLOR_RGB,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_COLOR_RGB,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB,
}


def read_header(data: bytes, max_frames: int) -> ImageHeader:
    """Size of the first frame segment, orientation of the first EXIF one."""
    del max_frames  # further pictures of a multi-picture file are never looked at
    size: tuple[int, int] | None = None
    orientation: int | None = None
    for marker, start, end in segments(data):
        if marker in FRAME_MARKERS and size is None:
            height, width = struct.unpack_from(">xHH", data, start)
            size = width, height
        elif marker == APP1 and orientation is None and data.startswith(EXIF_MAGIC, start):
            orientation = exif_orientation(data[start:end])
    if size is None:
        raise UndecodableImage("a JPEG scan without a frame header")
    _check_scans(data)
    return make_header(ImageFormat.JPEG, size, orientation=orientation or 1)


def read_pixels(data: bytes, header: ImageHeader, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """The image as stored; scaled inside the decoder when reduced, which saves most of the work."""
    flags = REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    width, height = header.stored_wh
    if pixels is None or pixels.shape[:2] != (-(-height // reduction), -(-width // reduction)):
        raise _fault(data)
    return pixels


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment's payload before the first scan."""
    position = 2
    for _ in range(part_limit(data)):
        position = data.find(b"\xff", position)
        if position < 0:
            raise TruncatedImage("a JPEG that ends before its first scan")
        (marker,) = struct.unpack_from("B", data, position + 1)
        if marker in (0x00, 0xFF):  # stuffing between segments
            position += 1
        elif marker in STANDALONE_MARKERS:
            position += 2
        elif marker == END_OF_IMAGE:
            raise UndecodableImage("a JPEG without a scan")
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            yield marker, position + 4, position + 2 + length
            if marker == START_OF_SCAN:
                return
            position += 2 + max(length, 2)
    raise UndecodableImage("a JPEG of too many segments")


def _check_scans(data: bytes) -> None:
    """Refuse more than `MAX_SCANS`; what follows the image's end is never decoded."""
    position, scans = _coded_data(data), 1
    for _ in range(part_limit(data)):
        mark = SEGMENT_MARK.search(data, position)
        if mark is None or data[mark.end() - 1] == END_OF_IMAGE:
            return
        scans += data[mark.end() - 1] == START_OF_SCAN
        if scans > MAX_SCANS:
            raise UndecodableImage(f"a JPEG of more than {MAX_SCANS} scans")
        position = mark.end() + max(2, int.from_bytes(data[mark.end() : mark.end() + 2], "big"))
    raise UndecodableImage("a JPEG of too many segments")


def _coded_data(data: bytes) -> int:
    """Where the header of the first scan ends."""
    return next(end for marker, _start, end in segments(data) if marker == START_OF_SCAN)


def _fault(data: bytes) -> UndecodableImage:
    if data.find(b"\xff\xd9", _coded_data(data)) < 0:
        return TruncatedImage("a JPEG that ends before its end marker")
    return UndecodableImage("a damaged JPEG, or one of a kind that is not read")
