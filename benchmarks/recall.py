"""Which faces are found, by their size and det_size: `python -m benchmarks.recall`.

Portraits from the folder that OMMA_EVAL_DATA names are scaled until each face has the wanted height
and laid out on grey photos; a face counts as found where a box overlaps its place by half. Group
pictures, whose faces were counted by eye, follow.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from omma.domain.faces import Detection, DetectOptions, DetSize
from omma.engines.finder import FaceFinder
from omma.engines.loading import load_detector
from omma.settings import Settings
from omma.stores.catalogue import Catalogue
from omma.stores.models import ModelFiles
from omma.vision.boxes import iou
from omma.vision.images import ImageLimits

DET_SIZES: tuple[DetSize, ...] = (320, 640, 1280, "auto")
PHOTOS_WH = ((640, 480), (1280, 960), (1920, 1440))
FACE_HEIGHTS_PX = (8, 12, 16, 24, 32, 48, 64, 96)
MIN_IOU = 0.5
GREY = 110
RESULT = Path("var/bench/recall.json")
GROUPS = {  # picture -> faces seen by eye
    "groups/sample1.jpg": 3,
    "groups/sample2.jpg": 3,
    "groups/sample3.jpg": 3,
    "groups/sample4.jpg": 4,
    "groups/sample5.jpg": 5,
    "groups/sample6.jpg": 4,
    "friends/group.jpg": 6,
    "bbt/bbt1.jpg": 4,
    "bbt/bbt2.jpg": 3,
    "bbt/bbt3.jpg": 5,
    "bbt/bbt4.jpg": 6,
    "bbt/bbt5.jpg": 5,
}


@dataclass(frozen=True, slots=True)
class Row:
    """How many faces of one height were there in photos of one width, and were found."""

    photo_width_px: int
    det_size: DetSize
    face_height_px: int  # in the photo
    canvas_height_px: float  # of the same face as the detector sees it
    faces: int
    found: int


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A picture of one face, and where the face is."""

    pixels: np.ndarray
    box: np.ndarray


def main() -> None:
    """Print both tables and write `RESULT`."""
    data = Path(os.environ["OMMA_EVAL_DATA"]) / "faces"
    finder = load_finder()
    portraits = list(read_portraits(finder, data))
    rows = [
        measure(finder, portraits, wh, height, det_size)
        for wh in PHOTOS_WH
        for height in FACE_HEIGHTS_PX
        for det_size in DET_SIZES
    ]
    groups = {str(size): count_groups(finder, data, size) for size in DET_SIZES}
    print(table(rows))
    print(f"\nFaces of {len(GROUPS)} group pictures, {sum(GROUPS.values())} by eye: {groups}")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"rows": [asdict(row) for row in rows], "groups": groups}))


def load_finder() -> FaceFinder:
    """The default pack's detector, as it is served."""
    settings = Settings()
    info = Catalogue.read(settings.models_file).pack(settings.faces.pack).detector
    path = ModelFiles(settings.models_dir).path(info)
    return FaceFinder(load_detector(info, path, settings.faces.detection), ImageLimits())


def find(finder: FaceFinder, data: bytes, det_size: DetSize) -> Detection:
    """Faces of one encoded image."""
    options = DetectOptions(det_size=det_size)
    prepared = finder.prepare(data, options)
    looks = [finder.detect([canvas], [options.min_score])[0] for canvas in prepared.looks]
    return finder.finish(prepared, finder.merged(prepared, looks), options)


def read_portraits(finder: FaceFinder, data: Path) -> Iterator[Portrait]:
    """Pictures of one person; their faces are large, and found at any setting."""
    for file in sorted([*data.glob("bbt/*/*.png"), *data.glob("friends/*.png")]):
        found = find(finder, file.read_bytes(), 640)
        bgr = cv2.imread(str(file))
        if len(found.faces) == 1 and bgr is not None:
            yield Portrait(bgr, found.faces[0].box)


def measure(
    finder: FaceFinder,
    portraits: Sequence[Portrait],
    wh: tuple[int, int],
    height_px: int,
    det_size: DetSize,
) -> Row:
    """Lay out every portrait at this size, on as many photos as it takes."""
    faces, found, canvas_px = 0, 0, 0.0
    for photo, boxes in montages(portraits, wh, height_px):
        _, encoded = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 95])
        answer = find(finder, encoded.tobytes(), det_size)
        answered = np.array([face.box for face in answer.faces], np.float32).reshape(-1, 4)
        faces += len(boxes)
        found += int((iou(boxes, answered).max(axis=1, initial=0) >= MIN_IOU).sum())
    side = max(wh) if det_size == "auto" else det_size
    canvas_px = height_px * min(1.0, min(side, 1280) / max(wh))
    return Row(wh[0], det_size, height_px, round(canvas_px, 1), faces, found)


def montages(
    portraits: Sequence[Portrait], wh: tuple[int, int], height_px: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Photos of portraits in a grid, and the boxes of their faces."""
    step = round(height_px * 2.2)  # the portraits are less than twice as high as their faces
    places = [(x, y) for y in range(0, wh[1] - step, step) for x in range(0, wh[0] - step, step)]
    for start in range(0, len(portraits), len(places)):
        photo = np.full((wh[1], wh[0], 3), GREY, np.uint8)
        chosen = portraits[start : start + len(places)]
        # Spread over the photo, so that few portraits do not all lie in one corner.
        spots = [places[i * len(places) // len(chosen)] for i in range(len(chosen))]
        boxes = [paste(photo, p, spot, height_px) for p, spot in zip(chosen, spots, strict=True)]
        yield photo, np.array(boxes, np.float32)


def paste(
    photo: np.ndarray, portrait: Portrait, spot: tuple[int, int], height_px: int
) -> np.ndarray:
    """Put a portrait at ``spot``, its face ``height_px`` high; answer the face's box."""
    box, (x, y) = portrait.box, spot
    scale = height_px / float(box[3] - box[1])
    tile = cv2.resize(portrait.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    part = photo[y : y + tile.shape[0], x : x + tile.shape[1]]
    part[:] = tile[: part.shape[0], : part.shape[1]]
    return box * scale + np.array([x, y, x, y], np.float32)


def count_groups(finder: FaceFinder, data: Path, det_size: DetSize) -> int:
    """Faces found in all group pictures, no more in each than there are."""
    return sum(
        min(faces, len(find(finder, (data / name).read_bytes(), det_size).faces))
        for name, faces in GROUPS.items()
    )


def table(rows: Sequence[Row]) -> str:
    """Recall in percent by photo, det_size and face height, as Markdown."""
    heights = " | ".join(f"{height} px" for height in FACE_HEIGHTS_PX)
    lines = [f"| photo | det_size | {heights} |", "|---" * (len(FACE_HEIGHTS_PX) + 2) + "|"]
    for width, _ in PHOTOS_WH:
        for size in DET_SIZES:
            same = [r for r in rows if r.photo_width_px == width and r.det_size == size]
            cells = " | ".join(f"{100 * row.found / row.faces:.0f}" for row in same)
            lines.append(f"| {width} px | {size} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
