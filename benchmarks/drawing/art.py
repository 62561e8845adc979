"""Pictures for cards, each of one of a dozen kinds."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from omma.vision.distortions import textures

Rgb = UInt8[np.ndarray, "_ _ 3"]
Colour = tuple[int, int, int]

STROKES = 420
ROOFED = 0.5  # part of the towers
CLOSED = True  # a line that ends where it begins
EDGE = 1e-4  # difference of values that parts two cells
LIGHT = (255, 250, 235)


def draw_art(seed: int, height: int, width: int) -> Rgb:
    """A picture of some kind, and its grain; the same seed makes the same one."""
    rng = np.random.default_rng(seed)
    painter = PAINTERS[int(rng.integers(len(PAINTERS)))]
    picture = painter(rng, height, width)
    grain = textures.noise(rng, height, width, cells=40, octaves=3) - 0.5
    return textures.saturated(picture + np.float32(26) * grain[..., None])


def landscape(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """A sky with sun or moon, and ranges of mountains that come nearer."""
    colours = textures.palette(rng, colours=5)
    clouds = textures.noise(rng, height, width, cells=3)
    sky = textures.gradient(height, width, np.pi / 2)
    picture = textures.paint(0.35 + 0.45 * sky + 0.25 * (clouds - 0.3), colours)
    centre = (int(rng.uniform(0.15, 0.85) * width), int(rng.uniform(0.15, 0.45) * height))
    cv2.circle(picture, centre, int(rng.uniform(0.06, 0.16) * height), LIGHT, -1, cv2.LINE_AA)
    rows = np.arange(height, dtype=np.float32)[:, None]
    layers = int(rng.integers(3, 6))
    for layer in range(layers):
        near = (layer + 1) / layers
        top = height * (0.25 + 0.55 * near - 0.35 * _ridge(rng, width, cells=3 + layer))
        inside = rows > top[None]
        rock = textures.noise(rng, height, width, cells=8 + 4 * layer, octaves=4)
        ground = textures.paint(0.62 * (1 - near) + 0.28 * rock, colours)
        picture[inside] = ground[inside]
    return picture


def nebula(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """Clouds bent by clouds, and stars."""
    bend = [textures.noise(rng, height, width, cells=3, octaves=3) - 0.5 for _ in range(2)]
    field = textures.noise(rng, height, width, cells=4, octaves=6)
    reach = float(rng.uniform(60, 200))
    x = np.arange(width, dtype=np.float32)[None] + reach * bend[0]
    y = np.arange(height, dtype=np.float32)[:, None] + reach * bend[1]
    bent = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    picture = textures.paint(np.asarray(bent, np.float32) ** 1.5, textures.palette(rng))
    for _ in range(int(rng.integers(20, 90))):
        place = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(picture, place, int(rng.choice([1, 1, 1, 2, 3])), LIGHT, -1, cv2.LINE_AA)
    return picture


def glass(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """A window of coloured glass in lead."""
    values, distances = textures.voronoi(rng, height, width, count=int(rng.integers(25, 160)))
    shade = 0.75 + 0.25 * textures.noise(rng, height, width, cells=6, octaves=3)
    picture = (
        textures.paint(0.15 + 0.85 * values, textures.palette(rng, colours=6)) * shade[..., None]
    )
    edges = np.abs(cv2.Laplacian(values, cv2.CV_32F, ksize=1))
    picture[cv2.dilate((edges > EDGE).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0] *= 0.15
    glow = np.exp(-distances / 14)[..., None]
    return textures.saturated((picture + 40 * glow).astype(np.float32))


def marble(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """Veins and rings of stone or of wood."""
    field = textures.noise(rng, height, width, cells=int(rng.integers(2, 5)), octaves=6)
    radius, _ = _polar(height, width, (float(rng.random()), float(rng.random())))
    rings = float(rng.uniform(4, 22)) * radius + float(rng.uniform(6, 22)) * field
    return textures.paint(0.5 + 0.5 * np.sin(rings), textures.palette(rng, colours=5))


def shapes(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """Discs, polygons and rays over each other, half transparent."""
    colours = textures.palette(rng, colours=6)
    picture = textures.paint(textures.gradient(height, width, float(rng.uniform(0, 6.3))), colours)
    for _ in range(int(rng.integers(14, 34))):
        layer = picture.copy()
        size, place = rng.uniform(0.05, 0.3) * height, rng.random(2) * (width, height)
        corners = int(rng.choice([3, 4, 5, 6, 40]))
        angles = rng.uniform(0, 6.3) + np.arange(corners) * 2 * np.pi / corners
        outline = place + size * np.stack([np.cos(angles), np.sin(angles)], 1)
        fill = _colour(colours, float(rng.random()))
        cv2.fillPoly(layer, [outline.astype(np.int32)], fill, cv2.LINE_AA)
        cv2.polylines(layer, [outline.astype(np.int32)], CLOSED, LIGHT, 1, cv2.LINE_AA)
        picture = cv2.addWeighted(layer, 0.65, picture, 0.35, 0)
    return picture


def rosette(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """A flower or a mandala: a pattern that turns around a middle."""
    radius, angle = _polar(height, width, (0.5, float(rng.uniform(0.4, 0.6))))
    petals = int(rng.integers(3, 10))
    fold = np.abs(np.cos(angle * petals / 2 + float(rng.uniform(0, 4)) * radius))
    source = textures.noise(rng, 160, 160, cells=5, octaves=5)
    x, y = fold * 120 + 20, np.minimum(radius, 0.99) * 150
    pattern = cv2.remap(source, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    waves = 0.5 + 0.5 * np.sin(float(rng.uniform(12, 40)) * (radius + 0.12 * fold))
    field = np.asarray(pattern, np.float32) * 0.65 + 0.35 * waves
    return textures.paint(
        textures.stretch(field.astype(np.float32)), textures.palette(rng, colours=6)
    )


def creature(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """A being: a symmetric body with horns or wings, eyes, and light behind it."""
    colours = textures.palette(rng, colours=5)
    radius, _ = _polar(height, width, (0.5, 0.45))
    haze = textures.noise(rng, height, width, cells=4)
    picture = textures.paint((0.95 - radius + 0.35 * (haze - 0.5)).astype(np.float32), colours)
    half = textures.noise(rng, height, (width + 1) // 2, cells=4, octaves=4)
    body = np.concatenate([half[:, ::-1], half], 1)[:, -width:] - 1.05 * radius
    skin = textures.noise(rng, height, width, cells=14, octaves=4)
    inside = body > float(rng.uniform(0.0, 0.15))
    rim = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    picture[inside] = textures.paint(0.05 + 0.4 * skin, colours)[inside]
    picture[rim > 0] = _colour(colours, 0.9)
    apart, level = int(rng.uniform(0.03, 0.09) * width), int(rng.uniform(0.35, 0.5) * height)
    glow = _colour(textures.palette(rng, colours=3), 0.95)
    for x in (width // 2 - apart, width // 2 + apart):
        cv2.ellipse(picture, (x, level), (int(apart * 0.6), int(apart * 0.4)), 0, 0, 360, glow, -1)
        cv2.circle(picture, (x, level), max(2, apart // 5), (10, 10, 10), -1, cv2.LINE_AA)
    return picture


def city(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """Towers with lit windows before a sky."""
    colours = textures.palette(rng, colours=5)
    field = textures.gradient(height, width, np.pi / 2) * 0.5 + 0.3
    picture = textures.paint(
        field + 0.25 * textures.noise(rng, height, width, cells=3) - 0.1, colours
    )
    lit = _colour(textures.palette(rng, colours=3), 1.0)
    for layer in range(3):
        x = int(rng.integers(-20, 0))
        while x < width:
            across = int(rng.integers(22, 64))
            top = int(height * (rng.uniform(0.15, 0.6) + 0.12 * layer))
            wall = _colour(colours, 0.36 - 0.14 * layer + float(rng.uniform(0, 0.08)))
            cv2.rectangle(picture, (x, top), (x + across, height), wall, -1)
            if rng.random() < ROOFED:
                roof = np.array([[x, top], [x + across, top], [x + across // 2, top - across]])
                cv2.fillPoly(picture, [roof.astype(np.int32)], wall, cv2.LINE_AA)
            _windows(picture, rng, (x, top, x + across), lit)
            x += across + int(rng.integers(0, 14))
    return picture


def tree(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """Branches that fork, with leaves at their ends."""
    colours = textures.palette(rng, colours=5)
    sky = 0.9 - 0.5 * textures.noise(rng, height, width, cells=3)
    picture = textures.paint(sky, colours)
    bark = _colour(colours, 0.08)
    leaves: list[tuple[int, int]] = []
    for root in rng.uniform(0.2, 0.8, int(rng.integers(1, 3))):
        _branch(
            picture, rng, (root * width, float(height)), -np.pi / 2, 0.24 * height, bark, leaves
        )
    leaf = textures.palette(rng, colours=4)
    for place in leaves:
        shade = _colour(leaf, float(rng.uniform(0.3, 1)))
        cv2.circle(picture, place, int(rng.integers(2, 7)), shade, -1, cv2.LINE_AA)
    return picture


def strokes(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """A brush that follows the wind."""
    colours = textures.palette(rng, colours=6)
    field = textures.noise(rng, height, width, cells=3, octaves=3)
    wind = textures.noise(rng, height, width, cells=2, octaves=2) * float(rng.uniform(4, 12))
    picture = textures.paint(field, colours)
    places = rng.random((STROKES, 2)) * (width, height)
    for (x, y), length in zip(places, rng.uniform(8, 40, STROKES), strict=True):
        row, column = int(y), int(x)
        angle, tone = float(wind[row, column]), float(field[row, column] + rng.uniform(-0.2, 0.2))
        end = (int(x + length * np.cos(angle)), int(y + length * np.sin(angle)))
        thick = int(rng.integers(2, 7))
        cv2.line(picture, (column, row), end, _colour(colours, tone), thick, cv2.LINE_AA)
    return picture


def weave(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """Ribbons of several widths across each other, bent by a wind."""
    bend = textures.noise(rng, height, width, cells=3, octaves=2) * float(rng.uniform(2, 9))
    field = np.zeros((height, width), np.float32)
    for _ in range(3):
        along = textures.gradient(height, width, float(rng.uniform(0, np.pi)))
        field += np.sign(np.sin(float(rng.uniform(10, 60)) * along + bend)) * float(
            rng.uniform(0.4, 1)
        )
    soft = cv2.GaussianBlur(field, (0, 0), 1.2) + 0.4 * bend / 9
    return textures.paint(
        textures.stretch(np.asarray(soft, np.float32)), textures.palette(rng, colours=6)
    )


def crystals(rng: np.random.Generator, height: int, width: int) -> Rgb:
    """Facets, lit from one side, that grow from below."""
    colours = textures.palette(rng, colours=5)
    dark = textures.noise(rng, height, width, cells=3) * 0.35
    picture = textures.paint(dark, colours)
    for _ in range(int(rng.integers(10, 26))):
        base = np.array([rng.uniform(0, width), height * rng.uniform(0.7, 1.05)])
        lean, long = rng.uniform(-0.5, 0.5), rng.uniform(0.25, 0.75) * height
        wide = long * rng.uniform(0.08, 0.2)
        axis, side = np.array([np.sin(lean), -np.cos(lean)]), np.array([np.cos(lean), np.sin(lean)])
        tip, neck = base + axis * long, base + axis * long * rng.uniform(0.7, 0.9)
        tone = float(rng.uniform(0.35, 0.8))
        for sign, light in ((-1, 0.2), (1, -0.15)):
            facet = np.stack([base, base + sign * side * wide, neck + sign * side * wide, tip])
            fill = _colour(colours, tone + light)
            cv2.fillPoly(picture, [facet.astype(np.int32)], fill, cv2.LINE_AA)
            cv2.polylines(picture, [facet.astype(np.int32)], CLOSED, LIGHT, 1, cv2.LINE_AA)
    return picture


def fit(picture: Rgb, height: int, width: int) -> Rgb:
    """The middle of ``picture``, scaled to fill the place."""
    scale = max(height / picture.shape[0], width / picture.shape[1])
    wh = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(picture, wh, interpolation=how)
    top, left = (wh[1] - height) // 2, (wh[0] - width) // 2
    return scaled[top : top + height, left : left + width]


def _ridge(rng: np.random.Generator, length: int, *, cells: int = 4) -> Float32[np.ndarray, " n"]:
    """A mountain range's height along its length."""
    return textures.noise(rng, 2, length, cells=cells, octaves=6)[0]


def _polar(
    height: int, width: int, centre: tuple[float, float] = (0.5, 0.5)
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Radius in parts of the height, and angle in radians, around ``centre`` (parts of w, h)."""
    x = np.arange(width, dtype=np.float32) - np.float32(centre[0] * width)
    y = np.arange(height, dtype=np.float32) - np.float32(centre[1] * height)
    radius = np.hypot(x[None], y[:, None]) / np.float32(height)
    return radius, np.arctan2(y[:, None], x[None]) + np.float32(np.pi)


def _colour(colours: UInt8[np.ndarray, "256 3"], tone: float) -> Colour:
    red, green, blue = colours[int(min(max(tone, 0.0), 1.0) * 255)]
    return int(red), int(green), int(blue)


def _windows(
    picture: Rgb, rng: np.random.Generator, wall: tuple[int, int, int], colour: Colour
) -> None:
    left, top, right = wall
    for y in range(top + 5, picture.shape[0] - 4, 9):
        for x in range(left + 4, right - 5, 8):
            if rng.random() < 0.35:  # noqa: PLR2004  somebody is at home
                cv2.rectangle(picture, (x, y), (x + 3, y + 4), colour, -1)


def _branch(  # noqa: PLR0913, PLR0917  where a branch begins, and what grows of it
    picture: Rgb,
    rng: np.random.Generator,
    start: tuple[float, float],
    angle: float,
    length: float,
    colour: Colour,
    leaves: list[tuple[int, int]],
) -> None:
    end = (start[0] + length * float(np.cos(angle)), start[1] + length * float(np.sin(angle)))
    whole = [(int(x), int(y)) for x, y in (start, end)]
    cv2.line(picture, whole[0], whole[1], colour, max(1, int(length / 7)), cv2.LINE_AA)
    if length < 14:  # noqa: PLR2004  px: a twig
        leaves.append(whole[1])
        return
    for turn in rng.uniform(0.15, 0.7, 2) * (-1, 1):
        _branch(picture, rng, end, angle + float(turn), length * 0.74, colour, leaves)


Painter = Callable[[np.random.Generator, int, int], Rgb]
PAINTERS: Sequence[Painter] = (
    landscape,
    nebula,
    glass,
    marble,
    shapes,
    rosette,
    creature,
    city,
    tree,
    strokes,
    weave,
    crystals,
)
