"""TIFF files of every layout, written so that their pixels are known by construction."""

import itertools
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

SHORT, LONG = 3, 4
KIND_OF = {SHORT: "H", LONG: "L"}
NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6


@dataclass(frozen=True, slots=True)
class Layout:
    """How samples are laid into a file."""

    photometric: int = RGB
    bits: int = 8
    order: str = "<"
    compression: int = NONE
    planar: int = 1
    rows: int = 7  # of a strip
    tile: int = 0  # px a side, in place of strips
    predictor: int = 1
    extra: tuple[int, ...] = ()
    tags: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)  # kind and values


def tiff(samples: np.ndarray, layout: Layout = Layout()) -> bytes:
    """One page of ``samples`` (h, w, n)."""
    parts = pieces(samples, layout)
    return directory(tags_of(samples, layout), parts, layout)


def with_thumbnail(data: bytes, small: np.ndarray, number: int = 330) -> bytes:
    """Before the page of ``data`` a smaller one, marked as such, that points at it by a tag."""
    layout = Layout(tags={254: (LONG, (1,)), number: (LONG, struct.unpack_from("<L", data, 4))})
    return directory(tags_of(small, layout), pieces(small, layout), layout, data)


def pieces(samples: np.ndarray, layout: Layout) -> list[bytes]:
    """Strips or tiles, of one plane after the other where planes are apart."""
    planes = np.split(samples, samples.shape[2], axis=2) if layout.planar == 2 else [samples]
    return [
        compress(packed(block, layout), layout.compression)
        for plane in planes
        for block in blocks(plane, layout)
    ]


def blocks(plane: np.ndarray, layout: Layout) -> list[np.ndarray]:
    height, width = plane.shape[:2]
    if not layout.tile:
        return [plane[top : top + layout.rows] for top in range(0, height, layout.rows)]
    side = layout.tile
    padded = np.pad(plane, ((0, -height % side), (0, -width % side), (0, 0)))
    corners = itertools.product(range(0, height, side), range(0, width, side))
    return [padded[top : top + side, left : left + side] for top, left in corners]


def packed(block: np.ndarray, layout: Layout) -> bytes:
    """Rows of samples in the file's byte order, each row padded to a byte."""
    if layout.predictor == 2:
        block = np.diff(block.astype(np.int64), axis=1, prepend=0) % (1 << layout.bits)
    rows = block.reshape(len(block), -1)
    if layout.bits in (8, 16, 32):
        return rows.astype(f"{layout.order}u{layout.bits // 8}").tobytes()
    shifts = np.arange(layout.bits)[::-1]
    bits = (rows[..., None] >> shifts & 1).reshape(len(rows), -1)
    return np.packbits(bits.astype(np.uint8), axis=1).tobytes()


def compress(data: bytes, compression: int) -> bytes:
    match compression:
        case 5:
            return lzw(data)
        case 8 | 32946:
            return zlib.compress(data)
        case 32773:
            runs = (data[at : at + 128] for at in range(0, len(data), 128))
            return b"".join(bytes([len(run) - 1]) + run for run in runs)
        case _:
            return data


def lzw(data: bytes) -> bytes:
    """Literals alone, the table cleared before its codes grow."""
    clear, end = 256, 257
    codes = [code for at in range(0, len(data), 200) for code in (clear, *data[at : at + 200])]
    bits = np.array([*codes, end], np.int64)[:, None] >> np.arange(9)[::-1] & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def tags_of(samples: np.ndarray, layout: Layout) -> dict[int, tuple[int, tuple[int, ...]]]:
    height, width, count = samples.shape
    tags: dict[int, tuple[int, tuple[int, ...]]] = {
        256: (LONG, (width,)),
        257: (LONG, (height,)),
        258: (SHORT, (layout.bits,) * count),
        259: (SHORT, (layout.compression,)),
        262: (SHORT, (layout.photometric,)),
        277: (SHORT, (count,)),
        284: (SHORT, (layout.planar,)),
    }
    if layout.tile:
        tags |= {322: (SHORT, (layout.tile,)), 323: (SHORT, (layout.tile,))}
    else:
        tags[278] = SHORT, (layout.rows,)
    if layout.predictor > 1:
        tags[317] = SHORT, (layout.predictor,)
    if layout.extra:
        tags[338] = SHORT, layout.extra
    return tags | layout.tags


def directory(
    tags: dict[int, tuple[int, tuple[int, ...]]],
    parts: list[bytes],
    layout: Layout,
    onto: bytes = b"",
) -> bytes:
    """Header, parts, values and the directory; ``onto`` a file of which it becomes the first."""
    magic = b"II" if layout.order == "<" else b"MM"
    body = bytearray(onto or struct.pack(layout.order + "2sHL", magic, 42, 0))
    offsets = []
    for part in parts:
        offsets.append(len(body))
        body += part + bytes(len(part) % 2)
    at, sizes = (324, 325) if layout.tile else (273, 279)
    tags = {at: (LONG, tuple(offsets)), sizes: (LONG, tuple(map(len, parts)))} | tags
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(f"{layout.order}{len(values)}{KIND_OF[kind]}", *values)
        if len(value) > 4:
            body += bytes(len(body) % 2)
            value, where = struct.pack(layout.order + "L", len(body)), value
            body += where
        entries += struct.pack(layout.order + "HHL4s", tag, kind, len(values), value)
    body += bytes(len(body) % 2)
    body[4:8] = struct.pack(layout.order + "L", len(body))
    return bytes(body) + struct.pack(layout.order + "H", len(tags)) + entries + bytes(4)
