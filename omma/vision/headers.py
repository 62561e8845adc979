"""What an image's header says, and the EXIF orientation among it."""

import struct
from dataclasses import dataclass
from enum import StrEnum

from omma.domain.errors import UndecodableImage

EXIF_ORIENTATION = 0x0112
EXIF_MAGIC = b"Exif\0\0"
IFD_ENTRY_BYTES = 12
INTEGERS = {3: "H", 4: "L"}  # TIFF's SHORT and LONG, as `struct` writes them


class ImageFormat(StrEnum):
    """The formats that are read; the values are Pillow's names."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"
    HEIC = "HEIC"
    AVIF = "AVIF"


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """How large an image may be by its own account."""

    max_pixels: int = 52_000_000  # what "50 MP" cameras write: 8192x6144, 8272x6200
    max_frames: int = 100


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What is known of an image before any pixel is decoded."""

    format: ImageFormat
    width_px: int  # upright
    height_px: int
    frames: int = 1  # that opening the file costs something for, to one past the limit
    orientation: int = 1  # EXIF's 1-8, left to undo: the decoders of HEIC and AVIF turn

    @property
    def stored_wh(self) -> tuple[int, int]:
        """Width and height as the decoder sees them, before turning."""
        wh = self.width_px, self.height_px
        return (wh[1], wh[0]) if self.orientation >= 5 else wh  # noqa: PLR2004 - 5-8 lie on a side


def make_header(
    kind: ImageFormat, stored_wh: tuple[int, int], *, frames: int = 1, orientation: int = 1
) -> ImageHeader:
    """A header from sizes as stored; an orientation outside 1-8 is taken as 1."""
    orientation = orientation if 1 <= orientation <= 8 else 1  # noqa: PLR2004 - as EXIF counts
    width, height = stored_wh[::-1] if orientation >= 5 else stored_wh  # noqa: PLR2004
    return ImageHeader(kind, width, height, frames, orientation)


def part_limit(data: bytes) -> int:
    """Most segments, chunks or blocks that an honest file of this length is made of.

    Walking the parts of a file takes Python a third of a microsecond each: a file of nothing but
    empty parts is refused before it has cost seconds.
    """
    return 4096 + len(data) // 64


def exif_orientation(exif: bytes) -> int:
    """EXIF orientation 1-8 of a TIFF block; 1 where there is none or it is damaged."""
    block = exif.removeprefix(EXIF_MAGIC)  # which the EXIF of a PNG or a WebP should lack
    try:
        order, first = open_tiff(block)
        entries = ifd_entries(block, order, first)
    except (struct.error, UndecodableImage):
        return 1
    return next(
        (
            orientation_of(order, kind, value)
            for tag, kind, _count, value in entries
            if tag == EXIF_ORIENTATION
        ),
        1,
    )


def orientation_of(order: str, kind: int, value: bytes) -> int:
    """The number in an orientation's entry, SHORT or LONG; 1 where it is something else."""
    return struct.unpack_from(order + INTEGERS[kind], value)[0] if kind in INTEGERS else 1


def open_tiff(data: bytes) -> tuple[str, int]:
    """Byte order as `struct` writes it, and the offset of the first directory."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise UndecodableImage(f"expected a TIFF header, got {data[:4]!r}")
    return order, struct.unpack_from(order + "L", data, 4)[0]


def ifd_entries(data: bytes, order: str, offset: int) -> list[tuple[int, int, int, bytes]]:
    """Tag, type, count and the four bytes of value or offset, for each entry of a directory.

    Only those before the end of the data, where the directory is cut.
    """
    (count,) = struct.unpack_from(order + "H", data, offset)
    whole = min(count, (len(data) - offset - 2) // IFD_ENTRY_BYTES)
    starts = range(offset + 2, offset + 2 + whole * IFD_ENTRY_BYTES, IFD_ENTRY_BYTES)
    return [struct.unpack_from(order + "HHL4s", data, start) for start in starts]
