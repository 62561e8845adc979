"""Every layout of samples that a format knows: the right pixels, or words that refuse it."""

import itertools
import struct
from io import BytesIO

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from omma.domain.errors import TruncatedImage, UndecodableImage
from omma.vision.images import ImageLimits, decode, probe
from tests import bmps, pngs
from tests.samples import encode, picture
from tests.tiffs import (
    BLACK_IS_ZERO,
    DEFLATE,
    LONG,
    LZW,
    NONE,
    PACKBITS,
    PALETTE,
    RGB,
    SEPARATED,
    SHORT,
    WHITE_IS_ZERO,
    YCBCR,
    Layout,
    directory,
    pieces,
    tags_of,
    tiff,
    with_thumbnail,
)

COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, SEPARATED: 4}
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = (0,), (1,), (2,)
HEIGHT, WIDTH = 19, 23
READ_TIFFS = {  # photometric, extra samples and depth, whose every layout is read
    *itertools.product((WHITE_IS_ZERO, BLACK_IS_ZERO), [()], (1, 2, 4, 8, 16)),
    *itertools.product((RGB,), [(), UNSPECIFIED, ASSOCIATED, UNASSOCIATED], (8, 16)),
    *itertools.product((SEPARATED,), [()], (8, 16)),
    (BLACK_IS_ZERO, UNASSOCIATED, 8),
}
STANDARD = bmps.STANDARD
MASKS = {
    16: [(0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F), (0xF00, 0xF0, 0xF), (0x1F, 0x7E0, 0xF800)],
    32: [
        STANDARD,
        STANDARD[::-1],
        (*STANDARD, 0xFF000000),
        (0xFF000000, 0xFF0000, 0xFF00),
        (0xFF00, 0xFF0000, 0xFF000000),
        (0x3FF00000, 0xFFC00, 0x3FF),
    ],
}


def read(data: bytes) -> np.ndarray:
    return decode(data, probe(data, ImageLimits()))


def worst(pixels: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(pixels - expected).max())


def noise(most: int, samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, most + 1, (HEIGHT, WIDTH, samples))


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return colours * alpha + 255 * (1 - alpha)


def as_rgb(samples: np.ndarray, photometric: int, bits: int, extra: tuple[int, ...]) -> np.ndarray:
    """What TIFF 6.0 says that samples look like."""
    values = samples * 255 / ((1 << bits) - 1)
    count = COLOURS[photometric]
    if photometric == SEPARATED:
        colours = (255 - values[..., :3]) * (255 - values[..., 3:4]) / 255
    else:
        colours = np.broadcast_to(values[..., :count], (HEIGHT, WIDTH, 3))
    if photometric == WHITE_IS_ZERO:
        colours = 255 - colours
    alpha = values[..., count : count + 1] / 255
    if extra == ASSOCIATED:
        return colours + 255 * (1 - alpha)
    return on_white(colours, alpha) if extra == UNASSOCIATED else colours


def samples_of(photometric: int, bits: int, extra: tuple[int, ...]) -> np.ndarray:
    count = COLOURS[photometric]
    samples = noise((1 << bits) - 1, count + len(extra))
    if extra == ASSOCIATED:  # colours were multiplied by it
        samples[..., :count] = np.minimum(samples[..., :count], samples[..., count:])
    return samples


def layouts(photometric: int, bits: int, extra: tuple[int, ...]) -> list[Layout]:
    """All of one kind of samples."""
    packings = [(NONE, 1), (LZW, 1), (DEFLATE, 1), (PACKBITS, 1)]
    packings += [(LZW, 2), (DEFLATE, 2)] if bits in (8, 16) else []
    planars = (1, 2) if COLOURS[photometric] + len(extra) > 1 else (1,)
    return [
        Layout(photometric, bits, order, packing, planar, tile=tile, predictor=how, extra=extra)
        for order, (packing, how), planar, tile in itertools.product(
            "<>", packings, planars, (0, 16)
        )
    ]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16, 32])
@pytest.mark.parametrize("extra", [(), UNSPECIFIED, ASSOCIATED, UNASSOCIATED])
@pytest.mark.parametrize("photometric", COLOURS)
def test_a_tiff_of_any_layout_has_its_pixels_or_is_refused(photometric, extra, bits):
    samples = samples_of(photometric, bits, extra)
    expected = as_rgb(samples, photometric, bits, extra)
    refused = 0

    for layout in layouts(photometric, bits, extra):
        data = tiff(samples, layout)
        try:
            pixels = read(data)
        except UndecodableImage:
            refused += 1
        else:
            assert worst(pixels, expected) <= 3, layout

    assert not (refused and (photometric, extra, bits) in READ_TIFFS)


@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, RGB])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_tiffs_of_these_tests_are_what_another_reader_takes_them_for(photometric, bits):
    samples = samples_of(photometric, bits, ())

    for layout in layouts(photometric, bits, ()):
        if layout.compression == NONE:
            page = tifffile.TiffFile(BytesIO(tiff(samples, layout))).pages[0].asarray()
            apart = layout.planar == 2 and photometric == RGB
            read_back = np.moveaxis(page, 0, -1) if apart else page
            assert (read_back.reshape(samples.shape) == samples).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("packing", [NONE, LZW])
def test_a_palette_of_a_tiff_is_looked_up(bits, packing):
    samples = noise((1 << bits) - 1, 1)
    palette = np.random.default_rng(1).integers(0, 256, (1 << bits, 3))
    colours = tuple((palette * 257).T.reshape(-1).tolist())
    layout = Layout(PALETTE, bits, compression=packing, tags={320: (SHORT, colours)})

    assert worst(read(tiff(samples, layout)), palette[samples[..., 0]]) == 0


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        (Layout(RGB, 8, tags={339: (SHORT, (2, 2, 2))}), "signed or floating"),
        (Layout(RGB, 8, tags={339: (SHORT, (3, 3, 3))}), "signed or floating"),
        (Layout(RGB, 8, tags={258: (SHORT, (8, 8, 16))}), "8, 8, 16 bits"),
        (Layout(YCBCR, 8), "YCbCr without JPEG"),
        (Layout(8, 8), "photometric interpretation 8"),
        (Layout(32803, 16), "photometric interpretation 32803"),
        (Layout(RGB, 8, compression=34712), "compression 34712"),
        (Layout(RGB, 8, tags={278: (SHORT, (1,))}), "missing parts"),
    ],
)
def test_a_tiff_that_would_come_out_wrong_is_refused_by_what_it_is(layout, reason):
    with pytest.raises(UndecodableImage, match=reason):
        probe(tiff(noise(255, 3), layout), ImageLimits())


@pytest.mark.parametrize("kind", [SHORT, LONG])
@pytest.mark.parametrize("order", "<>")
def test_a_turned_tiff_comes_out_upright(kind, order):
    samples = noise(255, 3)

    pixels = read(tiff(samples, Layout(order=order, tags={274: (kind, (6,))})))

    assert worst(pixels, np.rot90(samples, -1)) == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_previews_beside_a_tiffs_page_are_not_looked_at(count):
    samples = noise(255, 3)

    for offsets in ((8,) * count, (2**32 - 2,) * count):
        assert worst(read(tiff(samples, Layout(tags={330: (LONG, offsets)}))), samples) == 0


@pytest.mark.parametrize("tag", [330, 34665, 34853, 40965, 700, 34675])
@pytest.mark.parametrize("value", [0, 8, 2**31, 2**32 - 1])
def test_pointers_to_what_is_not_read_decide_nothing(tag, value):
    samples = noise(255, 3)

    assert worst(read(tiff(samples, Layout(tags={tag: (LONG, (value,))}))), samples) == 0


@pytest.mark.parametrize("following", [b"", b"\xff", b"\xff\xff\xff\xff", b"\x08\0\0\0"])
def test_what_follows_a_tiffs_page_decides_nothing(following):
    samples = noise(255, 3)

    assert worst(read(tiff(samples)[:-4] + following), samples) == 0


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("packing", [NONE, LZW, DEFLATE, PACKBITS])
@pytest.mark.parametrize("tile", [0, 16])
def test_a_tiff_that_ends_before_its_pixels_is_called_truncated(tile, packing, planar):
    layout = Layout(compression=packing, planar=planar, tile=tile)
    samples = noise(255, 3)
    *parts, last = pieces(samples, layout)
    front = directory(tags_of(samples, layout), [*parts, last], layout)
    at, offsets, sizes = len(front), 324 if tile else 273, 325 if tile else 279
    lengths = (*map(len, parts), len(last))
    starts = [8 + sum(n + n % 2 for n in lengths[:k]) for k in range(len(lengths))]

    moved = {offsets: (LONG, (*starts[:-1], at + 500)), sizes: (LONG, lengths)}
    data = directory(tags_of(samples, layout) | moved, [*parts, last], layout)
    whole = data.ljust(at + 500, b"\0") + last

    assert worst(read(whole), samples) == 0
    with pytest.raises(TruncatedImage):
        read(whole[:-1])


SMALL = np.full((4, 5, 3), 9)


def test_the_image_behind_a_tiffs_thumbnail_is_read_and_turned_as_the_thumbnail_is():
    samples = noise(255, 3)
    page = tiff(samples, Layout(tags={274: (SHORT, (3,))}))

    assert worst(read(with_thumbnail(page, SMALL)), samples[::-1, ::-1]) == 0


def test_the_largest_of_a_raw_files_images_that_is_read_answers_for_it():
    preview = noise(255, 3)
    with_preview = tiff(preview)
    raw = tags_of(noise(255, 1), Layout(32803, 16)) | {256: (LONG, (999,))}
    with_raw = directory(raw, [], Layout(), with_preview)
    below = struct.unpack_from("<L", with_preview, 4) + struct.unpack_from("<L", with_raw, 4)
    tags = tags_of(SMALL, Layout()) | {254: (LONG, (1,)), 330: (LONG, (*below, 2**32 - 1, 8))}

    data = directory(tags, pieces(SMALL, Layout()), Layout(), with_raw)

    assert worst(read(data), preview) == 0


def test_a_thumbnail_alone_of_a_raw_file_is_refused_by_what_lies_behind():
    raw = tiff(noise(255, 1), Layout(32803, 16))

    with pytest.raises(UndecodableImage, match="thumbnail before photometric interpretation 32803"):
        probe(with_thumbnail(raw, SMALL), ImageLimits())


def test_a_page_that_is_marked_as_a_thumbnail_of_nothing_is_read():
    assert worst(read(tiff(SMALL, Layout(tags={254: (LONG, (1,))}))), SMALL) == 0
    assert worst(read(with_thumbnail(tiff(SMALL), SMALL, 700)), SMALL) == 0


@pytest.mark.parametrize("header", [bmps.CORE, bmps.INFO, bmps.V2, bmps.V3, bmps.V4, bmps.V5])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_palette_of_a_bmp_is_looked_up(header, bits):
    palette = np.random.default_rng(1).integers(0, 256, (1 << bits, 3))
    values = noise((1 << bits) - 1, 1)[..., 0]
    packings = [bmps.RGB] if header == bmps.CORE or bits == 1 else [bmps.RGB, {4: 2, 8: 1}[bits]]

    for packing in packings:
        data = bmps.bmp(values, bits, header=header, compression=packing, palette=palette)
        assert worst(read(data), palette[values]) == 0


@pytest.mark.parametrize("header", [bmps.CORE, bmps.INFO, bmps.V2, bmps.V3, bmps.V4, bmps.V5])
@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("top_down", [False, True])
def test_a_bmp_of_plain_colours_has_its_pixels(header, bits, top_down):
    values = noise((1 << bits) - 1, 1)[..., 0]
    masks = MASKS[16][0] if bits == 16 else STANDARD

    data = bmps.bmp(values, bits, header=header, top_down=top_down and header != bmps.CORE)

    assert worst(read(data), under(masks, values)) == 0


@pytest.mark.parametrize("header", [bmps.INFO, bmps.V2, bmps.V3, bmps.V4, bmps.V5])
@pytest.mark.parametrize(("bits", "masks"), [(b, m) for b, all_ in MASKS.items() for m in all_])
def test_bit_fields_of_a_bmp_are_where_its_masks_say(header, bits, masks):
    values = noise((1 << bits) - 1, 1)[..., 0]
    fields = bmps.ALPHA_BITFIELDS if len(masks) > 3 and header == bmps.INFO else bmps.BITFIELDS

    data = bmps.bmp(values, bits, header=header, compression=fields, masks=masks)

    assert worst(read(data), under(masks[:3], values)) <= 1
    with pytest.raises(TruncatedImage):
        read(data[:-1])


@pytest.mark.parametrize("masks", [(0, 0xFF00, 0xFF), (0xF0F0, 0xF00, 0xF), (0x1FFFF, 0xF0, 0xF)])
def test_bit_fields_that_are_none_are_refused(masks):
    data = bmps.bmp(noise(255, 1)[..., 0], 16, compression=bmps.BITFIELDS, masks=masks)

    with pytest.raises(UndecodableImage, match="bit fields"):
        read(data)


def under(masks: tuple[int, ...], values: np.ndarray) -> np.ndarray:
    shifts = [(mask & -mask).bit_length() - 1 for mask in masks]
    channels = [
        np.rint(((values & mask) >> shift) * 255 / (mask >> shift))
        for mask, shift in zip(masks, shifts, strict=True)
    ]
    return np.stack(channels, axis=2)


@pytest.mark.parametrize(
    ("colour", "bits"), [(c, b) for c, all_ in pngs.DEPTHS.items() for b in all_]
)
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_of_any_colour_type_and_depth_has_its_pixels(colour, bits, interlaced):
    samples = noise((1 << bits) - 1, pngs.SAMPLES[colour])
    palette = np.random.default_rng(1).integers(0, 256, (1 << bits, 3))
    values = samples * 255 / ((1 << bits) - 1)
    expected = np.broadcast_to(values[..., : 3 if colour in (2, 6) else 1], (HEIGHT, WIDTH, 3))
    if colour == pngs.INDEXED:
        expected = palette[samples[..., 0]]
    elif colour in (pngs.GREY_ALPHA, pngs.COLOUR_ALPHA):
        expected = on_white(expected, values[..., -1:] / 255)

    data = pngs.png(
        samples, colour, bits, interlaced=interlaced, palette=palette if colour == 3 else None
    )

    assert worst(read(data), expected) <= 2


@pytest.mark.parametrize(
    ("colour", "bits"), [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16)]
)
def test_the_one_colour_of_a_png_that_stands_for_nothing_is_white(colour, bits):
    samples = noise((1 << bits) - 1, pngs.SAMPLES[colour])
    key = samples[3, 5].copy()
    samples[::4, ::3] = key
    expected = np.array(np.broadcast_to(samples * 255 / ((1 << bits) - 1), (HEIGHT, WIDTH, 3)))
    expected[(samples == key).all(axis=2)] = 255

    data = pngs.png(samples, colour, bits, transparent=struct.pack(f">{len(key)}H", *key.tolist()))

    assert worst(read(data), expected) <= 2
    with pytest.raises(UndecodableImage):
        read(data[: len(data) // 2])


def test_a_palette_of_a_png_fades_into_white():
    samples, rng = noise(15, 1), np.random.default_rng(1)
    palette, alpha = rng.integers(0, 256, (16, 3)), rng.integers(0, 256, 16)

    data = pngs.png(samples, 3, 4, palette=palette, transparent=alpha.astype(np.uint8).tobytes())

    assert worst(read(data), on_white(palette[samples[..., 0]], alpha[samples] / 255)) <= 2


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("how", [{"subsampling": n} for n in range(3)] + [{"keep_rgb": True}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_of_any_colours_and_subsampling_has_its_pixels(mode, how, progressive):
    image = Image.fromarray(picture()).convert(mode)

    pixels = read(encode(image, "JPEG", quality=95, progressive=progressive, **how))

    assert cv2.absdiff(pixels, np.asarray(image.convert("RGB"))).mean() < 2
