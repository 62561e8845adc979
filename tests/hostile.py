"""300 files that a server must survive, the same ones for the same seed."""

import functools
import itertools
import random
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from tests.samples import FORMATS, animate, as_stored, encode, exif, insert, picture, png_chunk

COUNT = 300
PNG_START = 33  # magic and IHDR
JPEG_START = 2

Named = Iterator[tuple[str, bytes]]


def hostile_files(seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names and contents; none is larger than 2 MB, and most are a few hundred bytes."""
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    fixed = itertools.chain(
        bombs(), crowds(), padded(), pixels(), extremes(), turned(), impostors(), truncations()
    )
    return itertools.islice(itertools.chain(fixed, noise(rng), mutations(rng)), COUNT)


@functools.cache
def sources() -> dict[str, bytes]:
    """One honest file of every format."""
    files = {kind.lower(): encode(picture(), kind) for kind in FORMATS}
    return files | {"progressive": encode(picture(), "JPEG", progressive=True)}


def truncations() -> Named:
    for name, data in sources().items():
        for part in (0.02, 0.1, 0.5, 0.9):
            yield f"truncated-{part}.{name}", data[: int(len(data) * part)]
        yield f"truncated-by-1.{name}", data[:-1]


def mutations(rng: random.Random) -> Named:
    """No end of files with a few bytes changed, cut out or doubled."""
    for number in itertools.count():
        name, data = rng.choice(list(sources().items()))
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8, 64))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        cut = rng.randrange(len(changed))
        if number % 4 == 0:
            del changed[cut : cut + rng.randrange(1, 32)]
        elif number % 4 == 1:
            changed[cut:cut] = changed[cut : cut + rng.randrange(1, 32)]
        yield f"mutated-{number}.{name}", bytes(changed)


def noise(rng: random.Random) -> Named:
    yield "empty", b""
    for length in (1, 16, 4096):
        yield f"zeros-{length}", bytes(length)
        yield f"random-{length}", rng.randbytes(length)
    for name, data in sources().items():
        yield f"magic-then-random.{name}", data[:16] + rng.randbytes(2048)
        yield f"magic-alone.{name}", data[:16]


def impostors() -> Named:
    """Formats that are not read, and readable ones inside each other."""
    for name, magic in {
        "psd": b"8BPS\0\1", "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n", "pdf": b"%PDF-1.7\n",
        "ico": b"\0\0\1\0\1\0", "pcx": b"\x0a\5\1\x08", "svg": b"<svg xmlns='x'/>",
        "zip": b"PK\3\4", "elf": b"\x7fELF\2\1\1", "html": b"<!doctype html>", "ppm": b"P6 9 9 1 ",
        "jp2": b"\0\0\0\x0cjP  \r\n\x87\n", "bigtiff": b"II+\0\x08\0\0\0",
        "mp4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2",
    }.items():  # fmt: skip
        yield f"not-read.{name}", magic + bytes(256)
    jpeg, png = sources()["jpeg"], sources()["png"]
    yield "jpeg-then-png", jpeg + png
    yield "png-in-jpeg-comment", insert(jpeg, JPEG_START, segment(0xFE, png))
    yield "jpeg-in-png-chunk", insert(png, PNG_START, png_chunk(b"tEXt", b"a\0" + jpeg))
    yield "png-magic-twice", png[:8] + png
    yield "webp-in-webp", riff(b"VP8 " + struct.pack("<L", 20) + sources()["webp"][:20])
    yield "gif-in-tiff", b"II*\0" + sources()["gif"]


def bombs() -> Named:
    """Small files that claim or unpack to huge ones."""
    yield "bomb-claim.png", png_of(100_000, 100_000, b"")
    yield "bomb-claim-31-bits.png", png_of(2**31 - 1, 2**31 - 1, b"")
    yield "bomb-unpacks.png", png_of(20_000, 20_000, deflated(20_000 * 2501), bits=1)
    yield "bomb-beyond-its-size.png", png_of(8, 8, deflated(50_000_000))
    yield "bomb-screen.gif", gif_of((65_535, 65_535), [(0, 0, 1, 1)])
    yield "bomb-frame.gif", gif_of((1, 1), [(0, 0, 65_535, 65_535)], control=b"\x08\0\0\0")
    yield "bomb-far-frame.gif", gif_of((1, 1), [(65_000, 65_000, 500, 500)])
    canvas = b"VP8X" + struct.pack("<L", 10) + bytes(4) + b"\xff" * 6
    yield "bomb-canvas.webp", riff(canvas)
    yield "bomb-lossless.webp", riff(b"VP8L" + struct.pack("<L", 5) + b"\x2f\xff\xff\xff\x0f")
    yield (
        "bomb-lossy.webp",
        riff(b"VP8 " + struct.pack("<L", 10) + b"\x10\0\0\x9d\x01\x2a" + b"\xff\x3f" * 2),
    )
    for side in (65_500, 2**31 - 1):
        yield f"bomb-{side}.tiff", tiff_of([(256, 4, 1, side), (257, 4, 1, side)])
        yield f"bomb-{side}.bmp", bmp_of(side, side)
    yield "bomb-negative.bmp", bmp_of(-(2**31), -(2**31))
    progressive = sources()["progressive"]
    last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    yield "scans-10000.jpeg", insert(progressive, -2, last_scan * 10_000)
    frame = sources()["jpeg"].index(b"\xff\xc0")
    yield "bomb.jpeg", patched(sources()["jpeg"], frame + 5, struct.pack(">HH", 65_500, 65_500))
    for name in ("heic", "avif"):
        at = sources()[name].index(b"ispe") + 8
        yield f"bomb.{name}", patched(sources()[name], at, struct.pack(">LL", 60_000, 60_000))
    tags = [(tag, 1, 60_000, 8) for tag in range(700, 2700)]
    yield "bomb-tags.tiff", tiff_of([(256, 4, 1, 8), (257, 4, 1, 8), *tags]) + bytes(60_000)
    block = tiff_of(tags) + bytes(30_000)
    yield (
        "bomb-exif.jpeg",
        insert(sources()["jpeg"], JPEG_START, segment(0xE1, b"Exif\0\0" + block[:60_000])),
    )
    bomb = zlib.compress(bytes(50_000_000))
    for name, head in {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}.items():
        chunk = png_chunk(name, head + bomb)
        yield f"bomb-{name.decode()}.png", insert(sources()["png"], PNG_START, chunk)


def crowds() -> Named:
    """Too many frames, pages or parts."""
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        yield f"frames-101.{kind.lower()}", animate(kind, 101)
        yield f"frames-3.{kind.lower()}", animate(kind, 3)
    yield "frames-20000.gif", gif_of((1, 1), [(0, 0, 1, 1)] * 20_000)
    control = png_chunk(b"acTL", struct.pack(">LL", 2**31, 0))
    yield "frames-2-to-31.png", insert(sources()["png"], PNG_START, control)
    pages = b"".join(struct.pack("<HL", 0, 8 + 6 * (n + 1)) for n in range(50_000))
    yield "pages-50000.tiff", struct.pack("<2sHL", b"II", 42, 8) + pages
    yield "pages-loop.tiff", tiff_of([(256, 4, 1, 8), (257, 4, 1, 8)], following=8)
    yield "pages-beyond.tiff", tiff_of([(256, 4, 1, 8), (257, 4, 1, 8)], following=2**32 - 1)
    yield "first-page-beyond.tiff", struct.pack("<2sHL", b"II", 42, 2**32 - 1)
    yield "loop-of-exif.tiff", tiff_of([(256, 4, 1, 8), (257, 4, 1, 8), (0x8769, 4, 1, 8)])
    yield "segments.jpeg", insert(sources()["jpeg"], JPEG_START, b"\xff\xfe\0\2" * 200_000)
    yield "fill-bytes.jpeg", insert(sources()["jpeg"], JPEG_START, b"\xff" * 1_000_000)
    yield "chunks.png", insert(sources()["png"], PNG_START, png_chunk(b"aaAa", b"") * 100_000)
    yield "chunks.webp", riff(sources()["webp"][12:] + (b"junk" + bytes(4)) * 100_000)
    comment = b"\x21\xfe" + b"\1a" * 400_000 + b"\0"
    yield "blocks.gif", insert(gif_of((1, 1), [(0, 0, 1, 1)]), 13, comment)


def padded() -> Named:
    """Headers of unusual size that an image carries beside its pixels."""
    jpeg, png, gif = sources()["jpeg"], sources()["png"], sources()["gif"]
    profile = b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000)) for _ in range(20))
    yield "icc-1-mb.jpeg", insert(jpeg, JPEG_START, profile)
    many_exif = b"".join(segment(0xE1, b"Exif\0\0" + exif(6)[6:]) for _ in range(200))
    yield "exif-200-times.jpeg", insert(jpeg, JPEG_START, many_exif)
    yield "exif-64-kb.jpeg", insert(jpeg, JPEG_START, segment(0xE1, b"Exif\0\0" + b"\xff" * 65_000))
    yield "exif-cut.jpeg", insert(jpeg, JPEG_START, segment(0xE1, exif(6)[:16]))
    yield "text-1-mb.png", insert(png, PNG_START, png_chunk(b"tEXt", b"a\0" + b"b" * 1_000_000))
    yield "exif-1-mb.png", insert(png, PNG_START, png_chunk(b"eXIf", exif(3)[6:] + bytes(10**6)))
    yield "no-palette.png", png_of(8, 8, deflated(72), colour=3)
    yield "long-chunk.png", insert(png, PNG_START, struct.pack(">L4s", 2**32 - 1, b"tEXt"))
    palette = 13 + (3 << (gif[10] & 7) + 1)
    comment = b"\x21\xfe" + (b"\xff" + b"c" * 255) * 4000 + b"\0"
    yield "comment-1-mb.gif", insert(gif, palette, comment)
    yield "trailing-1-mb.jpeg", jpeg + bytes(1_000_000)
    yield "trailing-1-mb.png", png + bytes(1_000_000)


def pixels() -> Named:
    """Sound files of unusual pixels."""
    colour = picture()
    image, grey = Image.fromarray(colour), Image.fromarray(colour[..., 0])
    deep = colour.astype(np.uint16) * 257
    yield "16-bit.png", cv2.imencode(".png", deep)[1].tobytes()
    yield "16-bit-grey.png", cv2.imencode(".png", deep[..., 0])[1].tobytes()
    yield "16-bit-alpha.png", cv2.imencode(".png", np.dstack([deep, deep[..., 0]]))[1].tobytes()
    yield "16-bit.tiff", cv2.imencode(".tiff", deep)[1].tobytes()
    yield "16-bit-grey.tiff", cv2.imencode(".tiff", deep[..., 0])[1].tobytes()
    yield "float.tiff", encode(grey.convert("F"), "TIFF")
    yield "32-bit.tiff", encode(grey.convert("I"), "TIFF")
    for mode, kinds in {
        "CMYK": ("JPEG", "TIFF"),
        "P": ("PNG", "GIF", "BMP", "TIFF"),
        "1": ("PNG", "BMP", "TIFF"),
        "L": ("JPEG", "PNG", "BMP", "TIFF", "GIF"),
        "LA": ("PNG", "TIFF"),
        "RGBA": ("PNG", "WEBP", "TIFF", "GIF", "HEIC", "AVIF", "BMP"),
        "YCbCr": ("JPEG", "TIFF"),
    }.items():
        for kind in kinds:
            yield f"{mode}.{kind.lower()}", encode(image.convert(mode), kind)
    for method in ("tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"):
        yield f"{method}.tiff", encode(image, "TIFF", compression=method)
    yield "group4.tiff", encode(image.convert("1"), "TIFF", compression="group4")
    yield "transparent-colour.png", encode(image, "PNG", transparency=(1, 2, 3))
    yield "lossless.webp", encode(image, "WEBP", lossless=True)


def extremes() -> Named:
    """One pixel, and lines of them."""
    for kind in FORMATS:
        yield f"1x1.{kind.lower()}", encode(picture(1, 1), kind)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF"):
        yield f"20000x1.{kind.lower()}", encode(picture(20_000, 1), kind)
        yield f"1x20000.{kind.lower()}", encode(picture(1, 20_000), kind)
    yield "0x0.png", png_of(0, 0, deflated(1))
    yield "0x0.gif", gif_of((0, 0), [(0, 0, 0, 0)])
    yield "0x0.bmp", bmp_of(0, 0)


def turned() -> Named:
    """Every EXIF orientation, and some that do not exist."""
    for orientation in (*range(1, 9), 0, 9, 65_535):
        for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
            if orientation in range(1, 9) or kind == "JPEG":
                stored = as_stored(picture(), orientation)
                yield (
                    f"exif-{orientation}.{kind.lower()}",
                    encode(stored, kind, exif=exif(orientation)),
                )


def patched(data: bytes, at: int, part: bytes) -> bytes:
    return data[:at] + part + data[at + len(part) :]


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<L", len(chunks) + 4) + b"WEBP" + chunks


def deflated(size_bytes: int) -> bytes:
    return zlib.compress(bytes(size_bytes), 1)


def png_of(width: int, height: int, data: bytes, *, bits: int = 8, colour: int = 0) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def gif_of(
    screen: tuple[int, int], frames: list[tuple[int, int, int, int]], *, control: bytes = b""
) -> bytes:
    """Frames without a palette, of one pixel's data each."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0)
    before = b"\x21\xf9\x04" + control + b"\0" if control else b""
    images = (b"\x2c" + struct.pack("<HHHHB", *box, 0) + b"\x02\x02\x4c\x01\0" for box in frames)
    return head + before + b"".join(images) + b"\x3b"


def tiff_of(tags: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    return struct.pack("<2sHLH", b"II", 42, 8, len(tags)) + entries + struct.pack("<L", following)


def bmp_of(width: int, height: int) -> bytes:
    core = struct.pack("<LllHHLLllLL", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return struct.pack("<2sLHHL", b"BM", 54 + 64, 0, 0, 54) + core + bytes(64)
