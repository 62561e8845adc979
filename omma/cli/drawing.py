"""Faces drawn on their picture, for people to look at."""

import io
from collections.abc import Sequence
from pathlib import Path

import pillow_heif
from PIL import Image, ImageDraw, ImageFont, ImageOps

from omma.wire.faces import DetectedFace

GREEN, BLACK = (0, 230, 118), (0, 0, 0)
# In the order of the wire's names: eyes, nose, mouth.
POINT_COLOURS = ((255, 214, 0), (255, 145, 0), (0, 229, 255), (255, 64, 129), (213, 0, 249))
LINE_OF_SIDE = 1 / 400  # of the picture's longer side, so that lines show at any size

pillow_heif.register_heif_opener()  # pyright: ignore[reportUnknownMemberType]
Image.MAX_IMAGE_PIXELS = None  # the server, whose limit counts, has answered already


def draw_faces(data: bytes, faces: Sequence[DetectedFace]) -> Image.Image:
    """The upright picture with every face's box, landmarks and confidence."""
    with Image.open(io.BytesIO(data)) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    pen = ImageDraw.Draw(picture)
    line = max(1, round(max(picture.size) * LINE_OF_SIDE))
    for face in faces:
        _draw_face(pen, face, line)
    return picture


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


def _draw_face(pen: ImageDraw.ImageDraw, face: DetectedFace, line: int) -> None:
    box = face.bbox
    pen.rectangle((box.x, box.y, box.x + box.width, box.y + box.height), outline=GREEN, width=line)
    marks = face.landmarks
    points = (marks.left_eye, marks.right_eye, marks.nose, marks.left_mouth, marks.right_mouth)
    for (x, y), colour in zip(points, POINT_COLOURS, strict=True):
        pen.ellipse((x - line, y - line, x + line, y + line), fill=colour)
    _draw_label(pen, (box.x, box.y), f"{face.confidence:.2f}", line)


def _draw_label(
    pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, line: int
) -> None:
    """Above the box, or inside it at the picture's upper edge."""
    font = ImageFont.load_default(max(10, 6 * line))
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    x, y = corner[0], max(0.0, corner[1] - (bottom - top) - 2 * line)
    pen.rectangle((x, y, x + (right - left) + 2 * line, y + (bottom - top) + 2 * line), fill=GREEN)
    pen.text((x + line - left, y + line - top), text, BLACK, font)
