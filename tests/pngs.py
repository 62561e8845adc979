"""PNG files of every colour type, depth and order of rows, whose pixels are known."""

import struct
import zlib

import numpy as np

from tests.samples import png_chunk

MAGIC = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, INDEXED, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, COLOUR: 3, INDEXED: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), COLOUR: (8, 16), INDEXED: (1, 2, 4, 8)} | {
    GREY_ALPHA: (8, 16),
    COLOUR_ALPHA: (8, 16),
}
# Adam7: first row and column of a pass, and the steps between its rows and columns
PASSES = (
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4),
    (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
)  # fmt: skip


def png(  # noqa: PLR0913 - a header's fields
    samples: np.ndarray,
    colour: int,
    bits: int,
    *,
    interlaced: bool = False,
    palette: np.ndarray | None = None,
    transparent: bytes = b"",
) -> bytes:
    """One image of ``samples`` (h, w, n); ``transparent`` is the payload of tRNS."""
    height, width, _ = samples.shape
    header = struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, interlaced)
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    parts = (samples[top::down, left::across] for top, left, down, across in passes)
    rows = b"".join(b"\0" + row for part in parts if part.size for row in _rows(part, bits))
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    if transparent:
        chunks.insert(1, (b"tRNS", transparent))
    if palette is not None:
        chunks.insert(1, (b"PLTE", palette.astype(np.uint8).tobytes()))
    return MAGIC + b"".join(png_chunk(*chunk) for chunk in chunks)


def _rows(part: np.ndarray, bits: int) -> list[bytes]:
    flat = part.reshape(len(part), -1)
    if bits >= 8:
        return [row.astype(f">u{bits // 8}").tobytes() for row in flat]
    shifts = np.arange(bits)[::-1]
    spread = (flat[..., None] >> shifts & 1).reshape(len(part), -1).astype(np.uint8)
    return [np.packbits(row).tobytes() for row in spread]
