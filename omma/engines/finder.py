"""Finds faces in encoded images: three steps, so that only the middle one waits for a batch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from omma.domain.faces import Alignment, Detection, DetectOptions, Face
from omma.engines.cutting import Photo, Places, cut, jpeg_crop, reduction_needed
from omma.engines.scales import FINE_TO_PX, SHRINK, merge
from omma.ports.faces import Candidates, DetectorEngine
from omma.vision.boxes import area, clip
from omma.vision.canvas import Canvas, CanvasPolicy, choose_side, letterbox
from omma.vision.images import ImageLimits, decode, probe, reduction_for
from omma.vision.quality import face_quality

# Dozens of images wait for the detector at once. The few that decode to more than this wait
# encoded, and are decoded again if they have faces.
MAX_WAITING_BYTES = 16_000_000
_UPRIGHT = Alignment.ARCFACE_112  # cut in any case: quality is judged by it


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An image that waits for the detector, decoded no finer than its canvas needs."""

    photo: Photo
    canvas: Canvas
    coarse: Canvas | None  # the same image once more, for faces too large for `canvas`
    decode_ms: float

    @property
    def pixels(self) -> UInt8[np.ndarray, "h w 3"]:
        """What the detector looks at first."""
        return self.canvas.pixels

    @property
    def looks(self) -> tuple[UInt8[np.ndarray, "h w 3"], ...]:
        """All that the detector looks at, one canvas or two; `FaceFinder.merged` joins them."""
        return (self.pixels, self.coarse.pixels) if self.coarse else (self.pixels,)


class FaceFinder:
    """`prepare` each image, `detect` those of one canvas shape together, `finish` each image."""

    def __init__(
        self, engine: DetectorEngine, limits: ImageLimits, policy: CanvasPolicy = "tight"
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._policy: CanvasPolicy = policy

    def prepare(self, data: bytes, options: DetectOptions) -> Prepared:
        """Check and decode one image; raises the domain's errors about images."""
        started = time.perf_counter()
        header = probe(data, self._limits)
        side = choose_side(options.det_size, width_px=header.width_px, height_px=header.height_px)
        reduction = reduction_for(header, side)
        photo = Photo(data, header, decode(data, header, reduction=reduction), reduction)
        canvas = letterbox(photo.pixels, side, self._policy)
        coarse = None
        if options.det_size == "auto" and min(side, max(photo.pixels.shape)) > FINE_TO_PX:
            coarse = letterbox(photo.pixels, side // SHRINK, self._policy)
        if photo.pixels.nbytes > MAX_WAITING_BYTES:
            photo = photo.without_pixels()
        return Prepared(photo, canvas, coarse, decode_ms=_ms_since(started))

    def detect(
        self, canvases: Sequence[UInt8[np.ndarray, "h w 3"]], min_scores: Sequence[float]
    ) -> list[Candidates]:
        """Look at canvases of one shape together, each with its threshold; one answer each."""
        return self._engine.run(np.stack(canvases), min_scores)

    def merged(self, prepared: Prepared, looks: Sequence[Candidates]) -> Candidates:
        """What the detector saw in each of ``prepared.looks``, as faces of the first."""
        if prepared.coarse is None:
            return looks[0]
        fine, coarse = prepared.canvas, prepared.coarse
        scale = np.array([fine.scale_x, fine.scale_y], np.float32)
        boxes = coarse.to_image(looks[1].boxes.reshape(-1, 2)) * scale
        landmarks = coarse.to_image(looks[1].landmarks) * scale
        return merge(looks[0], Candidates(boxes.reshape(-1, 4), landmarks, looks[1].scores))

    def finish(
        self, prepared: Prepared, candidates: Candidates, options: DetectOptions
    ) -> Detection:
        """Map the faces back to the original image and cut out what ``options`` ask for."""
        started = time.perf_counter()
        header = prepared.photo.header
        places, scores = _places(prepared, candidates, options)
        photo = prepared.photo
        if len(places.boxes):
            photo = photo.at(reduction_needed(places, options.alignments))
        redecode_ms = _ms_since(started) if photo is not prepared.photo else 0.0
        upright = cut(photo, places, _UPRIGHT)
        others = {a: cut(photo, places, a) for a in options.alignments if a != _UPRIGHT}
        return Detection(
            width_px=header.width_px,
            height_px=header.height_px,
            faces=_faces(places, scores, face_quality(upright, places.landmarks)),
            aligned=others | ({_UPRIGHT: upright} if _UPRIGHT in options.alignments else {}),
            crops=tuple(jpeg_crop(photo, box) for box in places.boxes) if options.crops else (),
            timings_ms={"decode": prepared.decode_ms + redecode_ms},
        )


def _places(
    prepared: Prepared, candidates: Candidates, options: DetectOptions
) -> tuple[Places, Float32[np.ndarray, " n"]]:
    """The faces to answer, in pixels of the original, and their scores, best first."""
    photo, to_image = prepared.photo, prepared.canvas.to_image
    header = photo.header
    corners = photo.to_original(to_image(candidates.boxes.reshape(-1, 2)))
    boxes = clip(corners.reshape(-1, 4), width_px=header.width_px, height_px=header.height_px)
    chosen = np.flatnonzero(area(boxes) > 0)[: options.max_faces]
    landmarks = photo.to_original(to_image(candidates.landmarks[chosen]))
    return Places(boxes[chosen], landmarks), candidates.scores[chosen]


def _faces(
    places: Places, scores: Float32[np.ndarray, " n"], qualities: Float32[np.ndarray, " n"]
) -> tuple[Face, ...]:
    rows = zip(places.boxes, places.landmarks, scores, qualities, strict=True)
    return tuple(
        Face(box, landmarks, float(score), float(quality))
        for box, landmarks, score, quality in rows
    )


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
