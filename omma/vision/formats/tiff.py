"""TIFF: one page, of which Pillow is given the tags that make pixels and no others."""

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from omma.domain.errors import TruncatedImage, UndecodableImage
from omma.vision.formats.directories import Directory, read_directory, read_others
from omma.vision.formats.raster import pillow_pixels, to_rgb
from omma.vision.headers import (
    EXIF_ORIENTATION,
    ImageFormat,
    ImageHeader,
    make_header,
    open_tiff,
    orientation_of,
)

MAGICS = (b"II*\0", b"MM\0*")

OLD_REDUCED_IMAGE = 2
REDUCED, OLD_REDUCED, SUB_DIRECTORIES = 0x00FE, 0x00FF, 0x014A
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 0x0100, 0x0101, 0x0102, 0x0103, 0x0106
SAMPLES, ROWS, PLANAR, EXTRA, SAMPLE_FORMAT = 0x0115, 0x0116, 0x011C, 0x0152, 0x0153
STRIPS, STRIP_BYTES, TILES, TILE_BYTES, TILE_WIDTH, TILE_HEIGHT = (
    0x0111, 0x0117, 0x0144, 0x0145, 0x0142, 0x0143,
)  # fmt: skip
FILL_ORDER, T4, T6, PREDICTOR, PALETTE, JPEG_TABLES = 0x010A, 0x0124, 0x0125, 0x013D, 0x0140, 0x015B
COEFFICIENTS, SUBSAMPLING, POSITIONING, REFERENCE = 0x0211, 0x0212, 0x0213, 0x0214
PIXEL_TAGS = frozenset({
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS, PLANAR, EXTRA, SAMPLE_FORMAT,
    STRIPS, STRIP_BYTES, TILES, TILE_BYTES, TILE_WIDTH, TILE_HEIGHT, FILL_ORDER, T4, T6, PREDICTOR,
    PALETTE, JPEG_TABLES, COEFFICIENTS, SUBSAMPLING, POSITIONING, REFERENCE,
})  # fmt: skip

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, INDEXED, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, INDEXED: 1, SEPARATED: 4, YCBCR: 3}
DEPTHS = {WHITE_IS_ZERO: {1, 2, 4, 8, 16}, BLACK_IS_ZERO: {1, 2, 4, 8, 16}, INDEXED: {1, 2, 4, 8}}
WHOLE_NUMBERS = frozenset({1, 4})  # sample formats: unsigned, undefined
ASSOCIATED, UNASSOCIATED = 1, 2  # alpha, among the extra samples
UNCOMPRESSED, JPEG = 1, 7
# None, CCITT's three, LZW, JPEG, deflate by its two numbers, PackBits, LZMA, Zstandard, WebP
COMPRESSIONS = frozenset({UNCOMPRESSED, 2, 3, 4, 5, JPEG, 8, 32773, 32946, 34925, 50000, 50001})
MODES = {  # Pillow's, for planes that were apart
    (BLACK_IS_ZERO, 0): "L",
    (BLACK_IS_ZERO, UNASSOCIATED): "LA",
    (RGB, 0): "RGB",
    (RGB, ASSOCIATED): "RGBa",
    (RGB, UNASSOCIATED): "RGBA",
    (SEPARATED, 0): "CMYK",
}
MAX_OTHERS = 32  # directories that are looked at beside a first one that is a thumbnail


def read_header(data: bytes, max_frames: int) -> ImageHeader:
    """Size and turn of the page that is read; further pages are never looked at."""
    del max_frames
    page, orientation = _choose(data)
    size = page.number(WIDTH), page.number(HEIGHT)
    return make_header(ImageFormat.TIFF, size, orientation=orientation)


def read_pixels(data: bytes, header: ImageHeader, reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """The page as stored."""
    page, _ = _choose(data)
    _check_parts(page)
    if _is_apart(page):
        return to_rgb(_merged(page, header), reduction)
    if page.number(PHOTOMETRIC) != WHITE_IS_ZERO:
        return pillow_pixels(page.as_file(), header, reduction)
    # Pillow inverts them only up to 8 bits
    negative = page.changed({PHOTOMETRIC: BLACK_IS_ZERO}).as_file()
    pixels = pillow_pixels(negative, header, reduction)
    return cv2.bitwise_not(pixels, dst=pixels)


def _choose(data: bytes) -> tuple[Directory, int]:
    """The first page, or the largest image that is read where that is a thumbnail; its turn."""
    order, offset = open_tiff(data)
    first = read_directory(data, order, offset)
    pages = [first]
    if _is_thumbnail(first):
        pages += filter(_is_whole, read_others(first, SUB_DIRECTORIES, MAX_OTHERS))
    page = largest = max(pages, key=_pixels)
    readable = [page for page in pages[1:] if not _fault(page)]
    if _fault(largest) and readable:
        page = max(readable, key=_pixels)
    if fault := _fault(page):
        behind = "" if page is first else "a thumbnail before "
        raise UndecodableImage(f"a TIFF of {behind}{fault}, which is not read")
    return page.only(PIXEL_TAGS), _turn(page) or _turn(first) or 1


def _is_thumbnail(page: Directory) -> bool:
    return bool(page.number(REDUCED) & 1) or page.number(OLD_REDUCED) == OLD_REDUCED_IMAGE


def _is_whole(page: Directory) -> bool:
    try:
        page.only(PIXEL_TAGS)
    except UndecodableImage:
        return False
    return True


def _turn(page: Directory) -> int:
    """EXIF orientation; 0 where there is none."""
    entry = page.entries.get(EXIF_ORIENTATION)
    return orientation_of(page.order, entry.kind, entry.value) if entry else 0


def _pixels(page: Directory) -> int:
    return page.number(WIDTH) * page.number(HEIGHT)


def _fault(page: Directory) -> str:
    """Why a page is not read; empty for one that is."""
    photometric, samples = page.number(PHOTOMETRIC, -1), page.number(SAMPLES, 1)
    compression, bits = page.number(COMPRESSION, 1), page.numbers(BITS, 1)
    alpha = _alpha(page)
    faults = {
        f"photometric interpretation {photometric}": photometric not in COLOURS,
        f"compression {compression}": compression not in COMPRESSIONS,
        "YCbCr without JPEG": photometric == YCBCR and compression != JPEG,
        "signed or floating numbers": not set(page.numbers(SAMPLE_FORMAT, 1)) <= WHOLE_NUMBERS,
        f"{', '.join(map(str, bits))} bits": set(bits) - DEPTHS.get(photometric, {8, 16})
        or len(set(bits)) > 1,
        f"{samples} samples a pixel": samples < COLOURS.get(photometric, 1)
        or len(bits) not in (1, samples),
        "alpha where white is zero": photometric == WHITE_IS_ZERO and alpha,
        "such planes apart": _is_apart(page) and (photometric, alpha) not in MODES,
        "missing parts": _parts(page) > _listed(page),
    }
    return next((fault for fault, holds in faults.items() if holds), "")


def _is_apart(page: Directory) -> bool:
    """Whether each sample has a plane of its own."""
    return page.number(PLANAR, 1) == 2 and page.number(SAMPLES, 1) > 1  # noqa: PLR2004 - TIFF's


def _alpha(page: Directory) -> int:
    """Kind of the first extra sample where that is alpha, else 0."""
    extra = page.number(EXTRA)
    return extra if extra in (ASSOCIATED, UNASSOCIATED) else 0


def _listed(page: Directory) -> int:
    """Strips or tiles that are listed, with their lengths where the pixels do not tell those."""
    where, sizes = (TILES, TILE_BYTES) if TILES in page.entries else (STRIPS, STRIP_BYTES)
    if page.number(COMPRESSION, 1) == UNCOMPRESSED:
        return page.count(where)
    return min(page.count(where), page.count(sizes))


def _parts(page: Directory) -> int:
    """Strips or tiles that the size asks for."""
    width, height = page.number(WIDTH), page.number(HEIGHT)
    across, down = _part_wh(page)
    planes = page.number(SAMPLES, 1) if _is_apart(page) else 1
    return planes * -(-width // max(across, 1)) * -(-height // max(down, 1))


def _part_wh(page: Directory) -> tuple[int, int]:
    if TILES in page.entries:
        return page.number(TILE_WIDTH), page.number(TILE_HEIGHT)
    height = page.number(HEIGHT)
    return page.number(WIDTH), min(page.number(ROWS, height), height)


def _check_parts(page: Directory) -> None:
    """Refuse strips or tiles that do not lie in the file, where the directory would follow them."""
    is_tiled = TILES in page.entries
    offsets = page.array(TILES if is_tiled else STRIPS)[: _parts(page)]
    if page.number(COMPRESSION, 1) != UNCOMPRESSED:
        ends = offsets + page.array(TILE_BYTES if is_tiled else STRIP_BYTES)[: len(offsets)]
    else:
        across, down = _part_wh(page)
        samples = 1 if _is_apart(page) else page.number(SAMPLES, 1)
        row_bytes = -(-across * samples * page.number(BITS, 1) // 8)
        ends = offsets + row_bytes * down
        if not is_tiled:  # the last of each plane has the rows that are left
            each = -(-page.number(HEIGHT) // max(down, 1))
            ends[each - 1 :: each] -= row_bytes * (-page.number(HEIGHT) % max(down, 1))
    if (ends > len(page.data)).any():
        raise TruncatedImage("a TIFF that ends before its pixels")


def _merged(page: Directory, header: ImageHeader) -> Image.Image:
    """Planes that lie apart, each read as a grey page."""
    samples, photometric, alpha = page.number(SAMPLES), page.number(PHOTOMETRIC), _alpha(page)
    tags = {PHOTOMETRIC: BLACK_IS_ZERO, SAMPLES: 1, BITS: page.number(BITS, 1), PLANAR: 1}
    grey = page.changed(tags).only(PIXEL_TAGS - {EXTRA, SAMPLE_FORMAT})
    mode = MODES[photometric, alpha]
    planes: list[Image.Image] = []
    for number in range(Image.getmodebands(mode)):
        runs = {
            tag: page.part(tag, number, samples)
            for tag in (STRIPS, STRIP_BYTES, TILES, TILE_BYTES)
            if tag in page.entries
        }
        plane = Directory(page.data, page.order, {**grey.entries, **runs}, 0)
        planes.append(Image.fromarray(pillow_pixels(plane.as_file(), header, 1)[..., 0]))
    return Image.merge(mode, planes)
