"""Draws a card as its spec says: frame, name, art, type, set symbol, rules text, collector line."""

import unicodedata

import cv2
import numpy as np
from jaxtyping import UInt8

from benchmarks.drawing import art
from benchmarks.drawing.specs import CardSpec, Frame, Rarity
from omma.vision.distortions import textures

Rgb = UInt8[np.ndarray, "_ _ 3"]
Colour = tuple[int, int, int]

WIDTH_PX, HEIGHT_PX = 488, 680  # as card services offer their middle size
BORDER = 20
NAME = (30, 30, 458, 68)  # left, top, right, bottom
ART = (38, 76, 450, 374)
TYPE = (30, 382, 458, 416)
TEXT = (38, 422, 450, 622)
STRENGTH = (386, 606, 454, 640)
SYMBOL = (434, 399)  # its middle
SYMBOL_PX = 12  # its radius
COLLECTOR_Y = 650
CLOSED = True  # a line that ends where it begins

NAME_FONT, BODY_FONT, LINE_FONT = (
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
)
INK, PAPER = (22, 18, 16), (238, 232, 220)
FRAMES: dict[Frame, Colour] = {
    Frame.WHITE: (222, 214, 190),
    Frame.BLUE: (58, 112, 178),
    Frame.BLACK: (66, 60, 68),
    Frame.RED: (190, 78, 52),
    Frame.GREEN: (56, 118, 72),
    Frame.GOLD: (202, 166, 82),
    Frame.GREY: (140, 148, 156),
}
PALE = (Frame.WHITE, Frame.GOLD, Frame.GREY)  # dark letters, even without bars
RARITIES: dict[Rarity, Colour] = {
    Rarity.COMMON: (24, 24, 28),
    Rarity.UNCOMMON: (120, 138, 152),
    Rarity.RARE: (178, 140, 52),
    Rarity.MYTHIC: (206, 84, 30),
}
PIPS: dict[str, Colour] = {
    "W": (246, 240, 206),
    "U": (150, 200, 236),
    "B": (140, 128, 132),
    "R": (236, 152, 122),
    "G": (150, 204, 160),
}
NO_PIP = (204, 196, 192)


def draw_card(spec: CardSpec, picture: Rgb | None = None) -> UInt8[np.ndarray, "680 488 3"]:
    """The card's front, `WIDTH_PX` by `HEIGHT_PX`; ``picture`` takes the place of its drawn art."""
    card = np.full((HEIGHT_PX, WIDTH_PX, 3), (14, 13, 12), np.uint8)
    _frame(card, spec)
    _art(card, spec, picture)
    _bars(card, spec)
    _words(card, spec)
    _symbol(card, spec)
    _collector_line(card, spec)
    return card


def _frame(card: Rgb, spec: CardSpec) -> None:
    """The same for all printings, hence of the art's seed."""
    rng = np.random.default_rng((spec.art_seed, 1))
    height, width = HEIGHT_PX - 2 * BORDER - 26, WIDTH_PX - 2 * BORDER
    grain = textures.noise(rng, height // 2, width // 2, cells=5, octaves=4)
    light = 0.75 * grain + 0.25 * textures.gradient(height // 2, width // 2, -2.2)
    smooth = np.asarray(cv2.resize(light, (width, height)), np.float32)
    shades = _shades(FRAMES[spec.frame], 0.7, 1.25)
    card[BORDER : BORDER + height, BORDER : BORDER + width] = textures.paint(smooth, shades)
    ends = ((BORDER, BORDER), (BORDER + width - 1, BORDER + height - 1))
    cv2.rectangle(card, *ends, _lighter(FRAMES[spec.frame], 1.35), 2, cv2.LINE_AA)


def _art(card: Rgb, spec: CardSpec, picture: Rgb | None) -> None:
    left, top, right, bottom = ART
    height, width = bottom - top, right - left
    drawn = (
        art.draw_art(spec.art_seed, height, width)
        if picture is None
        else art.fit(picture, height, width)
    )
    card[top:bottom, left:right] = drawn
    _bevel(card, ART, _lighter(FRAMES[spec.frame], 0.45))


def _bars(card: Rgb, spec: CardSpec) -> None:
    pale = _lighter(FRAMES[spec.frame], 0.35, towards=PAPER)
    if not spec.is_old_style:
        for bar in (NAME, TYPE):
            _plate(card, bar, pale)
    left, top, right, bottom = TEXT
    rng = np.random.default_rng((spec.art_seed, 2))
    grain = textures.noise(rng, bottom - top, right - left, cells=6, octaves=3)
    paper = _shades(_lighter(FRAMES[spec.frame], 0.18, towards=PAPER), 0.94, 1.0)
    card[top:bottom, left:right] = textures.paint(grain, paper)
    _bevel(card, TEXT, _lighter(FRAMES[spec.frame], 0.45))
    if spec.strength:
        _plate(card, STRENGTH, pale)


def _words(card: Rgb, spec: CardSpec) -> None:
    ink = PAPER if spec.is_old_style and spec.frame not in PALE else INK
    pips = len(spec.cost) * 24
    _line(card, spec.name, (NAME[0] + 10, NAME[3] - 12), NAME[2] - NAME[0] - 24 - pips, ink, 0.72)
    _line(card, spec.type_line, (TYPE[0] + 10, TYPE[3] - 11), 370, ink, 0.56)
    for index, letter in enumerate(reversed(spec.cost)):
        middle = (NAME[2] - 18 - 24 * index, (NAME[1] + NAME[3]) // 2)
        cv2.circle(card, middle, 11, (30, 28, 26), -1, cv2.LINE_AA)
        cv2.circle(card, middle, 10, PIPS.get(letter, NO_PIP), -1, cv2.LINE_AA)
        start = (middle[0] - 6, middle[1] + 6)
        cv2.putText(card, letter, start, LINE_FONT, 0.5, INK, 1, cv2.LINE_AA)
    if spec.strength:
        start = (STRENGTH[0] + 10, STRENGTH[3] - 10)
        _line(card, spec.strength, start, STRENGTH[2] - STRENGTH[0] - 18, INK, 0.66)
    _rules(card, spec.text)


def _line(  # noqa: PLR0913, PLR0917  a line of text is no less
    card: Rgb, text: str, start: tuple[int, int], width: int, ink: Colour, scale: float
) -> None:
    """As large as fits, at most ``scale``."""
    text = plain(text)
    (wide, _), _ = cv2.getTextSize(text, NAME_FONT, scale, 1)
    scale *= min(1.0, width / max(wide, 1))
    cv2.putText(card, text, start, NAME_FONT, scale, ink, 1, cv2.LINE_AA)


def _rules(card: Rgb, text: str) -> None:
    """Wrapped into the text box, in letters as small as it takes."""
    left, top, right, bottom = TEXT
    for scale in (0.62, 0.54, 0.47, 0.4, 0.35, 0.3):
        step = round(42 * scale)
        lines = wrap(plain(text), scale, right - left - 20)
        if len(lines) * step <= bottom - top - 14:
            break
    for index, line in enumerate(lines[: (bottom - top - 14) // step]):
        start = (left + 10, top + 10 + step * (index + 1) - step // 4)
        cv2.putText(card, line, start, BODY_FONT, scale, INK, 1, cv2.LINE_AA)


def wrap(text: str, scale: float, width: int) -> list[str]:
    """Lines of at most ``width`` px in the font of rules texts, unless one word is wider."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and cv2.getTextSize(longer, BODY_FONT, scale, 1)[0][0] > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def plain(text: str) -> str:
    """In the letters that OpenCV can draw: without accents, with straight dashes and quotes."""
    text = text.translate({0x2014: "-", 0x2013: "-", 0x2019: "'", 0x2212: "-", 0x2022: "*"})
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _symbol(card: Rgb, spec: CardSpec) -> None:
    """A set's sign: a star or polygon with another one, or a bar, cut out of it."""
    rng = np.random.default_rng((spec.symbol_seed, 3))
    middle = np.array(SYMBOL, np.float64)
    colour = RARITIES[spec.rarity]
    outer = _star(rng, float(SYMBOL_PX))
    shape = np.rint((middle + outer) * 16).astype(np.int32)
    cv2.fillPoly(card, [shape], colour, cv2.LINE_AA, shift=4)
    cut = np.rint((middle + _star(rng, SYMBOL_PX * float(rng.uniform(0.3, 0.6)))) * 16)
    cv2.fillPoly(card, [cut.astype(np.int32)], PAPER, cv2.LINE_AA, shift=4)
    if rng.random() < 0.5:  # noqa: PLR2004  every other set
        reach = rng.uniform(-1, 1, 2) * SYMBOL_PX
        ends = [(int(x), int(y)) for x, y in np.rint(np.stack([middle - reach, middle + reach]))]
        cv2.line(card, ends[0], ends[1], colour, 2, cv2.LINE_AA)
    cv2.polylines(card, [shape], CLOSED, INK, 1, cv2.LINE_AA, shift=4)


def _star(rng: np.random.Generator, size: float) -> np.ndarray:
    points = int(rng.integers(3, 9))
    radii = np.where(np.arange(2 * points) % 2, float(rng.uniform(0.35, 1)), 1.0) * size
    angles = np.arange(2 * points) * np.pi / points + rng.uniform(0, 2 * np.pi)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def _collector_line(card: Rgb, spec: CardSpec) -> None:
    number = f"{plain(spec.collector_number):0>4}"
    text = f"{number} {spec.rarity[0].upper()}   {spec.set_code.upper()} * EN"
    ink = (226, 224, 220)
    cv2.putText(card, text, (28, COLLECTOR_Y), LINE_FONT, 0.42, ink, 1, cv2.LINE_AA)
    artist = plain(spec.artist)
    cv2.putText(card, artist, (28, COLLECTOR_Y + 16), BODY_FONT, 0.36, ink, 1, cv2.LINE_AA)


def _plate(card: Rgb, place: tuple[int, int, int, int], colour: Colour) -> None:
    """A bar with round ends, lit from above."""
    left, top, right, bottom = place
    mask = np.zeros((bottom - top, right - left), np.uint8)
    radius = (bottom - top) // 3
    for inset in (0, radius):
        low, high = (
            (inset, radius - inset),
            (right - left - 1 - inset, bottom - top - 1 - radius + inset),
        )
        cv2.rectangle(mask, low, high, 255, -1)
    for x in (radius, right - left - 1 - radius):
        for y in (radius, bottom - top - 1 - radius):
            cv2.circle(mask, (x, y), radius, 255, -1)
    light = np.linspace(1.08, 0.9, bottom - top)[:, None, None]
    face = (np.array(colour) * light).clip(0, 255).astype(np.uint8)
    inside = mask > 0
    part = card[top:bottom, left:right]
    part[inside] = np.broadcast_to(face, part.shape)[inside]
    kernel = np.ones((3, 3), np.uint8)
    inner = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    edge = np.asarray(inner) == 0
    part[edge & inside] = _lighter(colour, 0.4)


def _bevel(card: Rgb, place: tuple[int, int, int, int], colour: Colour) -> None:
    left, top, right, bottom = place
    cv2.rectangle(card, (left - 2, top - 2), (right + 1, bottom + 1), colour, 2)
    bright = _lighter(colour, 2.2)
    cv2.line(card, (left - 3, bottom + 2), (right + 2, bottom + 2), bright, 1)
    cv2.line(card, (right + 2, top - 3), (right + 2, bottom + 2), bright, 1)


def _lighter(colour: Colour, factor: float, towards: Colour | None = None) -> Colour:
    """The colour times ``factor``; or that part of it, and ``towards`` for the rest."""
    rest = np.array(towards or (0, 0, 0)) * (1 - factor)
    red, green, blue = (np.array(colour) * factor + rest).clip(0, 255).astype(int)
    return int(red), int(green), int(blue)


def _shades(colour: Colour, darkest: float, brightest: float) -> UInt8[np.ndarray, "256 3"]:
    steps = np.linspace(darkest, brightest, textures.PALETTE_STEPS)[:, None]
    return (np.array(colour) * steps).clip(0, 255).astype(np.uint8)
