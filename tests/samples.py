"""Pictures that tests draw, and their files in every format."""

import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pillow_heif
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIC", "AVIF")
ORIENTATION_TAG = 0x0112


def picture(width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """A smooth colour picture without symmetry, so that every turn of it looks different."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def encode(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    """One file of an array or a Pillow image; options are the encoder's."""
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    out = BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(out, quality=90, **options)
    else:
        image.save(out, kind, **options)
    return out.getvalue()


def animate(kind: str, frames: int, size: tuple[int, int] = (16, 12)) -> bytes:
    """An animation, or a file of several pages, of frames that all differ."""
    first, *rest = (
        Image.new("RGB", size, (number * 40 % 256, number // 6 * 30 % 256, number % 256))
        for number in range(frames)
    )
    return encode(first, kind, save_all=True, append_images=rest)


def exif(orientation: int) -> bytes:
    """An EXIF block that holds an orientation alone."""
    block = Image.Exif()
    block[ORIENTATION_TAG] = orientation
    return block.tobytes()


def as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The rows and columns that a camera of this EXIF orientation would store."""
    flipped = {2: "x", 3: "xy", 4: "y", 6: "x", 7: "xy", 8: "y"}.get(orientation, "")
    stored = upright[:, ::-1] if "x" in flipped else upright
    stored = stored[::-1] if "y" in flipped else stored
    turned = stored.swapaxes(0, 1) if orientation >= 5 else stored
    return np.ascontiguousarray(turned)


def png_chunk(name: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(name + payload)
    return struct.pack(">L", len(payload)) + name + payload + struct.pack(">L", checksum)


def insert(data: bytes, at: int, part: bytes) -> bytes:
    return data[:at] + part + data[at:]
