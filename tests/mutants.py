"""Mutants of honest files, the same ones for the same seed, and a second opinion on each."""

import random
import struct
from collections.abc import Iterator
from io import BytesIO

import cv2
import numpy as np
import pillow_heif
from PIL import Image, ImageOps

from tests import bmps, pngs
from tests.samples import animate, as_stored, encode, exif, picture, png_chunk
from tests.tiffs import LZW, Layout, tiff

SIDES = 24, 18


def originals(kind: str) -> list[bytes]:
    """Files of one format that differ in layout."""
    image = picture(*SIDES)
    deep = image.astype(np.int64) * 257
    plain = [
        encode(image, kind),
        animate(kind, 3, SIDES) if kind in MOVING else encode(image, kind),
    ]
    match kind:
        case "JPEG":
            turned = encode(image, kind, exif=exif(6))
            return [*plain, turned, encode(image, kind, progressive=True)]
        case "PNG":
            return [*plain, pngs.png(deep, pngs.COLOUR, 16, interlaced=True)]
        case "BMP":
            values = deep[..., 0] * 65_536 + deep[..., 1]
            return [
                *plain,
                bmps.bmp(values, 32, header=bmps.V4, compression=3, masks=bmps.STANDARD[::-1]),
            ]
        case "TIFF":
            layouts = (
                Layout(bits=16, planar=2),
                Layout(order=">", compression=LZW),
                Layout(tile=16),
            )
            return [*plain, *(tiff(deep >> 16 - each.bits, each) for each in layouts)]
        case "WEBP":
            return [*plain, encode(image, kind, lossless=True, exif=exif(3))]
        case _:
            return plain


MOVING = {"GIF", "PNG", "WEBP", "TIFF", "AVIF"}


def mutants(kind: str, count: int = 500, seed: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Originals, and with each a mutant of it.

    Bits are flipped, ends cut, parts dropped or doubled, and fields set to extremes.
    """
    rng = random.Random(f"{kind} {seed}")  # noqa: S311 - not for secrets
    sources = originals(kind)
    for number in range(count):
        original = sources[number % len(sources)]
        data = bytearray(original)
        rng.choice(EDITS)(data, rng)
        yield original, checked(bytes(data)) if kind == "PNG" else bytes(data)


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_in_the_header(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(4, min(len(data), 200))] = rng.randrange(256)


def set_a_field(data: bytearray, rng: random.Random) -> None:
    """A 16 or 32-bit number, of either order, to what numbers are that break readers."""
    kind = rng.choice(("<H", ">H", "<L", ">L"))
    most = 256 ** struct.calcsize(kind) - 1
    at = rng.randrange(4, min(len(data), 400) - 4)
    value = rng.choice((0, 1, 2, 3, 8, 16, most // 2, most - 1, most, len(data)))
    struct.pack_into(kind, data, at, min(value, most))


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def drop(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 32)]


def double(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = data[at : at + rng.randrange(1, 32)]


EDITS = (flip, flip_in_the_header, set_a_field, cut, drop, double)


def checked(data: bytes) -> bytes:
    """A PNG whose checksums fit, so that its fields are read at all."""
    position, out = 8, data[:8]
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">L4s", data, position)
        payload = data[position + 8 : position + 8 + length]
        if len(payload) < length or position + 12 + length > len(data):
            break
        out += png_chunk(name, payload)
        position += 12 + length
    return out + data[position:]


def turns(pixels: np.ndarray) -> list[np.ndarray]:
    """A picture in all orientations, one of which it has where its own was lost."""
    return [as_stored(pixels, orientation) for orientation in range(1, 9)]


def opinions(kind: str, data: bytes) -> list[np.ndarray]:
    """What other readers make of a file: nothing, where they refuse it."""
    if kind == "WEBP":  # a wrong length of the whole is no reason
        data = data[:4] + struct.pack("<L", len(data) - 8) + data[8:]
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return ([] if seen is None else [seen]) + _by_pillow(kind, data)


def _by_pillow(kind: str, data: bytes) -> list[np.ndarray]:
    """With its colours as they are, and on white."""
    try:
        with (
            pillow_heif.open_heif(data).to_pillow()
            if kind == "HEIC"
            else Image.open(BytesIO(data)) as opened
        ):
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            plain, layered = image.convert("RGB"), image.convert("RGBA")
    except Exception:  # noqa: BLE001 - it refuses in many words
        return []
    page = Image.new("RGB", layered.size, "white")
    page.paste(layered, mask=layered.getchannel("A"))
    return [np.asarray(plain), np.asarray(page)]
