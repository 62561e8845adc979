"""BMP files of every header and depth, written so that their pixels are known by construction."""

import struct

import numpy as np

RGB, RLE8, RLE4, BITFIELDS, ALPHA_BITFIELDS = 0, 1, 2, 3, 6
CORE, INFO, V2, V3, OS2_V2, V4, V5 = 12, 40, 52, 56, 64, 108, 124
STANDARD = (0xFF0000, 0xFF00, 0xFF)


def bmp(  # noqa: PLR0913 - a header's fields
    values: np.ndarray,
    bits: int,
    *,
    header: int = INFO,
    compression: int = RGB,
    masks: tuple[int, ...] = (),
    palette: np.ndarray | None = None,
    top_down: bool = False,
    gap: int = 0,
) -> bytes:
    """Pixel ``values`` (h, w) of so many bits; a palette is RGB, masks are red, green, blue."""
    height, width = values.shape
    if header == CORE:
        core = struct.pack("<LHHHH", CORE, width, height, 1, bits)
    else:
        tall = -height if top_down else height
        colours = 0 if palette is None else len(palette)
        core = struct.pack(
            "<LllHHLLllLL", header, width, tall, 1, bits, compression, 0, 0, 0, colours, 0
        )
        inside = struct.pack(f"<{len(masks)}L", *masks) if header != OS2_V2 else b""
        core = core + inside if header == INFO else (core + inside).ljust(header, b"\0")
    table = b"" if palette is None else _table(palette, 3 if header == CORE else 4)
    data = _rle(values, bits) if compression in (RLE8, RLE4) else _rows(values, bits, top_down)
    start = 14 + len(core) + len(table) + gap
    return (
        struct.pack("<2sLHHL", b"BM", start + len(data), 0, 0, start)
        + core + table + bytes(gap) + data
    )  # fmt: skip


def _table(palette: np.ndarray, size: int) -> bytes:
    return b"".join(
        colour[::-1].astype(np.uint8).tobytes().ljust(size, b"\0") for colour in palette
    )


def _rows(values: np.ndarray, bits: int, top_down: bool) -> bytes:  # noqa: FBT001
    shifts = np.arange(bits)[::-1]
    rows = values if top_down else values[::-1]
    if bits < 8:
        flat = (rows[..., None] >> shifts & 1).reshape(len(rows), -1).astype(np.uint8)
        rows = np.packbits(flat, axis=1)
    else:
        rows = rows.astype("<u4").view(np.uint8).reshape(*rows.shape, 4)[..., : bits // 8]
    rows = rows.reshape(len(rows), -1)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()


def _rle(values: np.ndarray, bits: int) -> bytes:
    """Runs of one, and an absolute run at the start of each row."""
    out = bytearray()
    for row in values[::-1].tolist():
        start, rest = row[:4], row[4:]
        if bits == 8:
            out += bytes([0, 4, *start])
        else:
            out += bytes([0, 4, start[0] << 4 | start[1], start[2] << 4 | start[3]])
        for value in rest:
            out += bytes([1, value if bits == 8 else value << 4 | value])
        out += b"\0\0"
    return bytes(out) + b"\0\1"
