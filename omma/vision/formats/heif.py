"""HEIC through pillow-heif and AVIF through Pillow; both containers turn images by themselves."""

import re
from io import BytesIO

import numpy as np
import pillow_heif
from jaxtyping import UInt8
from PIL import Image

from omma.domain.errors import UndecodableImage
from omma.vision.formats.raster import pillow_pixels, to_rgb
from omma.vision.headers import EXIF_ORIENTATION, ImageFormat, ImageHeader, make_header

AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

# An item entry (ISO/IEC 14496-12, 8.11.6) of metadata: the decoders would read it, we do not.
METADATA_ITEM = re.compile(rb"(infe[\x02\x03].{3}.{4,6})(?:Exif|mime)", re.DOTALL)


def read_heic_header(data: bytes, max_frames: int) -> ImageHeader:
    """Size of the primary image, and the number of images."""
    container = _open_heic(data)
    frames = min(len(container), max_frames + 1)
    return make_header(ImageFormat.HEIC, container.size, frames=frames)


def read_heic_pixels(
    data: bytes, header: ImageHeader, reduction: int
) -> UInt8[np.ndarray, "h w 3"]:
    """The primary image, upright."""
    pixels = np.asarray(_open_heic(data))
    if pixels.shape[:2] != header.stored_wh[::-1]:
        raise UndecodableImage(f"expected {header.stored_wh} px, got {pixels.shape[:2][::-1]}")
    return to_rgb(Image.fromarray(pixels), reduction)


def read_avif_header(data: bytes, max_frames: int) -> ImageHeader:
    """Size of the image, or of the sequence and the number of its frames."""
    with Image.open(BytesIO(_without_metadata(data)), formats=["AVIF"]) as picture:
        frames = min(int(getattr(picture, "n_frames", 1)), max_frames + 1)
        orientation = int(picture.getexif().get(EXIF_ORIENTATION, 1))
        return make_header(ImageFormat.AVIF, picture.size, frames=frames, orientation=orientation)


def read_avif_pixels(
    data: bytes, header: ImageHeader, reduction: int
) -> UInt8[np.ndarray, "h w 3"]:
    """The first frame as stored."""
    return pillow_pixels(_without_metadata(data), header, reduction)


def brands(data: bytes) -> frozenset[bytes]:
    """Brands of a file-type box, major and compatible; none when there is no such box."""
    if data[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return frozenset(data[at : at + 4] for at in (8, *range(16, end, 4)))


def _open_heic(data: bytes) -> pillow_heif.HeifFile:
    return pillow_heif.HeifFile(_without_metadata(data))


def _without_metadata(data: bytes) -> bytes:
    return METADATA_ITEM.sub(rb"\1skip", data)
