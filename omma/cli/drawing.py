"""Faces and cards drawn on their picture, for people to look at."""

import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pillow_heif
from PIL import Image, ImageDraw, ImageFont

from omma.vision.images import ImageLimits, decode, probe
from omma.wire.cards import RecognisedCard
from omma.wire.faces import DetectedFace

GREEN, BLACK = (0, 230, 118), (0, 0, 0)
TOP_EDGE = (255, 64, 129)
# In the order of the wire's names: eyes, nose, mouth.
POINT_COLOURS = ((255, 214, 0), (255, 145, 0), (0, 229, 255), (255, 64, 129), (213, 0, 249))
LINE_OF_SIDE = 1 / 400  # of the picture's longer side, so that lines show at any size

# The server, whose limits count, has answered already.
UNLIMITED = ImageLimits(max_pixels=2**62, max_frames=2**62)

pillow_heif.register_heif_opener()  # pyright: ignore[reportUnknownMemberType] - to save as HEIC


def draw_faces(data: bytes, faces: Sequence[DetectedFace]) -> Image.Image:
    """The upright picture with every face's box, landmarks and confidence."""
    picture, line = _opened(data)
    pen = ImageDraw.Draw(picture)
    for face in faces:
        _draw_face(pen, face, line)
    return picture


def draw_cards(data: bytes, cards: Sequence[RecognisedCard]) -> Image.Image:
    """The upright picture with every card's outline, its own top edge, its name and its score."""
    picture, line = _opened(data)
    pen = ImageDraw.Draw(picture)
    for card in cards:
        _draw_outline(pen, card, line)
    for card in cards:  # names last, so that no outline crosses one
        _draw_name(pen, card, line, picture.size)
    return picture


def _opened(data: bytes) -> tuple[Image.Image, int]:
    """The picture as the server sees it, and how wide lines on it are."""
    picture = Image.fromarray(decode(data, probe(data, UNLIMITED)))
    return picture, max(1, round(max(picture.size) * LINE_OF_SIDE))


def save_beside(picture: Image.Image, folder: Path, name: Path) -> Path:
    """Save as JPEG under ``folder``; a name that is taken gets a number, nothing is overwritten."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=90)
    target = folder / name.parent / f"{name.stem}.jpg"
    target.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        try:
            with target.open("xb") as file:
                file.write(data.getbuffer())
        except FileExistsError:
            number += 1
            target = target.with_name(f"{name.stem}-{number}.jpg")
        else:
            return target


def save_as(picture: Image.Image, target: Path) -> None:
    """Save as the very file that was named, in the format that its name says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.save(target, quality=90)


def _draw_face(pen: ImageDraw.ImageDraw, face: DetectedFace, line: int) -> None:
    box = face.bbox
    pen.rectangle((box.x, box.y, box.x + box.width, box.y + box.height), outline=GREEN, width=line)
    marks = face.landmarks
    points = (marks.left_eye, marks.right_eye, marks.nose, marks.left_mouth, marks.right_mouth)
    for (x, y), colour in zip(points, POINT_COLOURS, strict=True):
        pen.ellipse((x - line, y - line, x + line, y + line), fill=colour)
    _draw_label(pen, (box.x, box.y), f"{face.confidence:.2f}", line)


def _draw_outline(pen: ImageDraw.ImageDraw, card: RecognisedCard, line: int) -> None:
    corners = card.outline
    pen.line([*corners, corners[0]], GREEN, 2 * line, "curve")
    pen.line(corners[:2], TOP_EDGE, 2 * line)  # which way up the card lies
    for x, y in corners:
        pen.ellipse((x - line, y - line, x + line, y + line), fill=GREEN)


def _draw_name(
    pen: ImageDraw.ImageDraw, card: RecognisedCard, line: int, size: tuple[int, int]
) -> None:
    """In the middle of the card, and within the picture."""
    code = f"{card.set.upper()} {card.collector_number}".strip()
    sure = "" if card.is_printing_certain else "?"
    text = f"{_plain(card.name)}\n{_plain(code)}{sure}   {card.score:.2f}"
    font = ImageFont.load_default(max(12, 8 * line))
    left, top, right, bottom = pen.multiline_textbbox((0, 0), text, font, align="center")
    wide, high = right - left + 2 * line, bottom - top + 2 * line
    x = _within(sum(x for x, _ in card.outline) / 4 - wide / 2, size[0] - wide)
    y = _within(sum(y for _, y in card.outline) / 4 - high / 2, size[1] - high)
    pen.rectangle((x, y, x + wide, y + high), fill=GREEN)
    pen.multiline_text((x + line - left, y + line - top), text, BLACK, font, align="center")


def _plain(text: str) -> str:
    """In letters that the built-in font has: without accents."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _within(value: float, most: float) -> float:
    return max(0.0, min(value, most))


def _draw_label(
    pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, line: int
) -> None:
    """Above the box, or inside it at the picture's upper edge."""
    font = ImageFont.load_default(max(10, 6 * line))
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    x, y = corner[0], max(0.0, corner[1] - (bottom - top) - 2 * line)
    pen.rectangle((x, y, x + (right - left) + 2 * line, y + (bottom - top) + 2 * line), fill=GREEN)
    pen.text((x + line - left, y + line - top), text, BLACK, font)
