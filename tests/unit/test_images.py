import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omma.domain.errors import (
    EmptyImage,
    OmmaError,
    TooManyFrames,
    TooManyPixels,
    TruncatedImage,
    UndecodableImage,
)
from omma.vision.formats.jpeg import MAX_SCANS
from omma.vision.images import (
    ImageFormat,
    ImageHeader,
    ImageLimits,
    decode,
    origin_of,
    probe,
    reduction_for,
)
from tests.hostile import JPEG_START, PNG_START, png_of, segment, sources
from tests.samples import FORMATS, animate, as_stored, encode, exif, insert, picture, png_chunk

LIMITS = ImageLimits(max_pixels=1_000_000, max_frames=5)
LOSSLESS = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}


def read(data: bytes, reduction: int = 1) -> np.ndarray:
    return decode(data, probe(data, LIMITS), reduction=reduction)


def of_scans(count: int) -> bytes:
    """A progressive JPEG of so many scans, the last of them repeated."""
    data = sources()["progressive"]
    scan = data[data.rindex(b"\xff\xda") : -2]
    return insert(data, -2, scan * (count - data.count(b"\xff\xda")))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(cv2.absdiff(a, b).mean())


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_its_pixels_as_rgb(kind):
    image = picture()

    pixels = read(encode(image, kind, **LOSSLESS.get(kind, {})))

    assert difference(pixels, image) < (9 if kind == "GIF" else 3)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_header_tells_format_and_size(kind):
    header = probe(encode(picture(70, 33), kind), LIMITS)

    assert (header.format, header.width_px, header.height_px) == (kind, 70, 33)
    assert header.frames == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIC", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(kind, orientation):
    upright = picture()
    stored = encode(as_stored(upright, orientation), kind, exif=exif(orientation))

    header = probe(stored, LIMITS)

    assert (header.width_px, header.height_px) == (64, 48)
    assert difference(decode(stored, header), upright) < 5


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    assert read(encode(picture(), "JPEG", exif=exif(orientation))).shape == (48, 64, 3)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_reduced_image_is_the_average_of_the_whole(kind, reduction):
    data = encode(picture(131, 75), kind)
    whole = read(data)

    reduced = read(data, reduction)

    assert reduced.shape == (-(-75 // reduction), -(-131 // reduction), 3)
    rows, columns = 75 // reduction, 131 // reduction  # of squares that no edge cuts
    inside = whole[: rows * reduction, : columns * reduction]
    expected = cv2.resize(inside, (columns, rows), interpolation=cv2.INTER_AREA)
    assert difference(np.ascontiguousarray(reduced[:rows, :columns]), expected) < 2


def test_a_reduced_image_is_upright_too():
    upright = picture(64, 48)

    reduced = read(encode(as_stored(upright, 6), "JPEG", exif=exif(6)), 2)

    expected = cv2.resize(upright, (32, 24), interpolation=cv2.INTER_AREA)
    assert difference(reduced, expected) < 5


@pytest.mark.parametrize(
    ("longer", "target", "reduction"),
    [(4000, 640, 4), (640, 640, 1), (1280, 640, 2), (1279, 640, 1), (99_999, 640, 8), (9, 640, 1)],
)
def test_a_reduction_leaves_at_least_what_was_asked_for(longer, target, reduction):
    assert reduction_for(ImageHeader(ImageFormat.JPEG, longer, 5), target) == reduction


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_places_stay_exact_in_a_turned_image_whose_sides_do_not_divide(orientation, reduction):
    upright = np.zeros((75, 131, 3), np.uint8)
    upright[24:40, 48:72] = 255
    data = encode(as_stored(upright, orientation), "PNG", exif=exif(orientation))
    header = probe(data, LIMITS)

    reduced = decode(data, header, reduction=reduction)[..., 0].astype(float)

    weights = reduced.sum(axis=0), reduced.sum(axis=1)
    centre = [np.average(np.arange(len(w)) + 0.5, weights=w) * reduction for w in weights]
    assert np.add(centre, origin_of(header, reduction)) == pytest.approx([60, 32], abs=0.1)


def test_a_jpeg_of_as_many_scans_as_the_limit_is_decoded():
    data = of_scans(MAX_SCANS)

    assert read(data).shape == (48, 64, 3)
    with pytest.raises(UndecodableImage, match="more than 100 scans"):
        probe(of_scans(MAX_SCANS + 1), LIMITS)


def test_what_only_looks_like_scans_is_not_counted():
    looks = b"\xff\xda\0\2" * 200
    comment = b"\xff\xfe" + (len(looks) + 2).to_bytes(2, "big") + looks
    data = sources()["progressive"]
    between_scans = data.rindex(b"\xff\xda")

    for file in (insert(data, 2, comment), insert(data, between_scans, comment), data + looks):
        assert read(file).shape == (48, 64, 3)


def test_scans_hide_neither_behind_a_false_end_nor_behind_fill_bytes():
    data = sources()["progressive"]
    at = data.rindex(b"\xff\xda")
    false_end = b"\xff\xfe\0\4\xff\xd9"
    scan = b"\xff\xff" + data[at:-2]

    with pytest.raises(UndecodableImage, match="more than 100 scans"):
        probe(insert(insert(data, -2, scan * 200), at, false_end), LIMITS)


def test_a_reduction_that_no_decoder_knows_is_refused():
    with pytest.raises(ValueError, match="got 3"):
        read(sources()["jpeg"], 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_and_not_clipped(kind, channels):
    image = picture()[..., :channels]
    deep = np.ascontiguousarray(image[..., ::-1]).astype(np.uint16) * 257

    pixels = read(cv2.imencode(f".{kind.lower()}", deep)[1].tobytes())

    assert difference(pixels, np.broadcast_to(image, (48, 64, 3)).copy()) == 0


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(kind):
    assert difference(read(encode(Image.fromarray(picture()).convert("CMYK"), kind)), picture()) < 3


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_a_palette_is_looked_up(kind):
    indexed = Image.fromarray(picture()).quantize(32)

    assert difference(read(encode(indexed, kind)), np.asarray(indexed.convert("RGB"))) == 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF", "HEIC", "AVIF"])
def test_what_is_transparent_shows_as_white(kind):
    alpha = np.zeros((48, 64, 1), np.uint8)
    alpha[:, 32:] = 255
    hidden = np.dstack([np.full_like(picture(), 30), alpha])

    pixels = read(encode(hidden, kind, **LOSSLESS.get(kind, {})))

    assert pixels[:, :28].min() > 245
    assert pixels[:, 36:].max() < 40


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_an_animation_the_first_frame_is_read(kind):
    assert read(animate(kind, 4)).max() < 10


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_frames_that_cost_nothing_are_not_limited(kind):
    data = animate(kind, LIMITS.max_frames + 1)

    assert probe(data, LIMITS).frames == 1
    assert read(data).max() < 10


def test_more_frames_than_the_limit_are_refused_where_each_is_opened():
    assert probe(animate("AVIF", 4), LIMITS).frames == 4
    with pytest.raises(TooManyFrames, match="more than 5"):
        probe(animate("AVIF", 6), LIMITS)


@pytest.mark.parametrize("size", [(8192, 6144), (8160, 6144), (8272, 6200)])
def test_what_cameras_of_50_megapixels_write_is_within_the_default_limit(size):
    for width, height in (size, size[::-1]):
        header = probe(png_of(width, height, b""), ImageLimits())
        assert (header.width_px, header.height_px) == (width, height)
    with pytest.raises(TooManyPixels):
        probe(png_of(8192, 8192, b""), ImageLimits())


@pytest.mark.parametrize("kind", FORMATS)
def test_more_pixels_than_the_limit_are_refused(kind):
    with pytest.raises(TooManyPixels, match="3072 pixels, expected at most 3071"):
        probe(encode(picture(), kind), ImageLimits(max_pixels=64 * 48 - 1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF"])
def test_a_limit_above_pillows_own_holds(kind):
    data = encode(Image.new("1", (20_000, 10_000)), kind)

    header = probe(data, ImageLimits(max_pixels=200_000_000))

    assert header.width_px == 20_000


@pytest.mark.parametrize("name", sorted(sources()))
def test_half_a_file_is_an_error_and_no_grey_bars(name):
    data = sources()[name]

    with pytest.raises(UndecodableImage):
        read(data[: len(data) // 2])


@pytest.mark.parametrize("name", ["jpeg", "progressive", "png", "gif", "webp", "bmp", "tiff"])
def test_a_file_that_ends_too_soon_is_called_truncated(name):
    data = sources()[name]

    with pytest.raises(TruncatedImage):
        read(data[: int(len(data) * 0.9)])


def test_no_bytes_are_an_empty_image():
    with pytest.raises(EmptyImage):
        probe(b"", LIMITS)


@pytest.mark.parametrize("kind", ["ICO", "PCX", "PPM", "TGA", "JPEG2000", "PDF", "EPS"])
def test_other_formats_are_not_read(kind):
    with pytest.raises(UndecodableImage):
        probe(encode(picture(), kind), LIMITS)


def exif_of(order: str, kind: int, *, cut: bool) -> bytes:
    """An EXIF block of orientation 6 alone, and of a directory that says it has more."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + {3: "H", 4: "L"}[kind], 6).ljust(4, b"\0")
    head = struct.pack(order + "LHHHL", 8, 12 if cut else 1, 0x0112, kind, 1)
    return magic + head + value + (b"\0\1" if cut else bytes(4))


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("order", "<>")
def test_an_orientation_counts_as_short_or_long_even_where_exif_is_cut(order, kind, cut):
    block = exif_of(order, kind, cut=cut)
    jpeg, png = sources()["jpeg"], sources()["png"]

    for exif_block in (block, b"Exif\0\0" + block):
        data = insert(png, PNG_START, png_chunk(b"eXIf", exif_block))
        assert probe(data, LIMITS).orientation == 6
    data = insert(jpeg, JPEG_START, segment(0xE1, b"Exif\0\0" + block))
    assert probe(data, LIMITS).orientation == 6


def test_an_orientation_in_xmp_or_in_a_text_turns_nothing():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
    text = b"Raw profile type exif\0\nexif\n%8d\n" % len(exif(6)) + exif(6).hex().encode()
    jpeg, png = sources()["jpeg"], sources()["png"]

    turned = (
        insert(jpeg, JPEG_START, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)),
        insert(png, PNG_START, png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)),
        insert(png, PNG_START, png_chunk(b"tEXt", text)),
    )

    for data in turned:
        assert probe(data, LIMITS).orientation == 1


def test_a_panorama_that_ends_in_the_makers_data_and_not_in_an_end_marker_is_read():
    jpeg = sources()["jpeg"]
    tail = segment(0xE4, bytes(40)) + b"SEFH" + bytes(32) + b"SEFT"

    assert (read(jpeg[:-2] + tail) == read(jpeg)).all()


def test_a_text_that_unpacks_to_megabytes_beside_a_png_is_not_unpacked():
    png = sources()["png"]
    text = b"workflow\0\0" + zlib.compress(bytes(4_000_000))

    assert (read(insert(png, PNG_START, png_chunk(b"zTXt", text))) == read(png)).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_what_follows_the_pixels_may_be_missing(kind):
    image = Image.fromarray(picture())
    beside = {"PNG": {"exif": exif(1)}, "WEBP": {"exif": exif(1), "xmp": b"x" * 99}}
    data = encode(image, kind, **beside.get(kind, {}))
    ends = {"PNG": 12, "WEBP": 90, "GIF": 1}

    assert (read(data[: len(data) - ends[kind]]) == read(data)).all()


def test_exif_tags_that_claim_gigabytes_are_not_followed():
    tags = b"".join(b"\x00\x90\x02\x00\xff\xff\xff\x7f\x08\x00\x00\x00" for _ in range(4000))
    block = b"Exif\0\0II*\0\x08\0\0\0\xa0\x0f" + tags
    jpeg = sources()["jpeg"]
    data = jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]

    assert read(data).shape == (48, 64, 3)


@given(name=st.sampled_from(sorted(sources())), data=st.data())
def test_any_damage_is_survived_or_told(name, data):
    file = bytearray(sources()[name])
    for _ in range(data.draw(st.integers(1, 8))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(file)))

    for candidate in (bytes(file), bytes(file[:cut]), bytes(file[:cut] + file[cut // 2 :])):
        try:
            header = probe(candidate, LIMITS)
            pixels = decode(candidate, header, reduction=2)
        except OmmaError:
            continue
        assert pixels.shape == (-(-header.height_px // 2), -(-header.width_px // 2), 3)


@given(st.binary(max_size=200), st.sampled_from(sorted(sources())))
def test_any_bytes_are_survived_or_told(tail, name):
    for candidate in (tail, sources()[name][:12] + tail):
        message = ""
        try:
            decode(candidate, probe(candidate, LIMITS))
        except OmmaError as error:
            message = str(error)
        assert "object at" not in message
        assert len(message) < 300
