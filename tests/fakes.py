"""Ports answered from made-up data, for suites that test what lies above them."""

import asyncio
import re
import zlib
from dataclasses import dataclass, field

import numpy as np

from omma.domain.errors import (
    EmptyImage,
    OmmaError,
    TooManyPixels,
    TruncatedImage,
    UndecodableImage,
)
from omma.domain.faces import LANDMARK_NAMES, Alignment, Detection, DetectOptions, Face, Lane
from omma.domain.images import ImageEmbedding
from omma.domain.models import DetectorInfo, Pack, RecogniserInfo
from omma.domain.status import Health, SystemState
from omma.operations.declaring import Capabilities
from omma.services.faces import FaceDefaults, FaceService
from omma.services.images import ImageService
from tests.card_fakes import card_service

WIDTH_PX, HEIGHT_PX = 640, 480
MAGIC = (b"\xff\xd8\xff", b"\x89PNG")
DIMENSION = 512


def picture(faces=1):
    """Bytes in which `FakeFaceDetector` sees so many faces."""
    return b"faces:%d" % faces


@dataclass
class FakeFaceDetector:
    """Reads the number of faces out of `picture`; other words are the errors they name."""

    asked: list = field(default_factory=list)  # (images, options, lane) of every call
    gate: asyncio.Event | None = None  # holds every call until it is set
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    cancelled: int = 0
    fault: Exception | None = None

    async def detect(self, images, options, *, lane=Lane.INTERACTIVE):
        self.asked.append((list(images), options, lane))
        self.arrived.release()
        if self.fault:
            raise self.fault
        if self.gate:
            await self._pass_gate()
        return [_outcome(image, options) for image in images]

    async def _pass_gate(self):
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class FakeFaceEmbedder:
    """The direction of a crop is its own number."""

    async def embed(self, crops, *, lane=Lane.INTERACTIVE):
        del lane
        vectors = np.random.default_rng(7).standard_normal((len(crops), DIMENSION))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@dataclass
class FakeImageEmbedder:
    """Sees an image in whatever `FakeFaceDetector` does; equal bytes lie at one place."""

    asked: list = field(default_factory=list)  # (images, lane) of every call
    fault: Exception | None = None

    async def embed(self, images, *, lane=Lane.INTERACTIVE):
        self.asked.append((list(images), lane))
        if self.fault:
            raise self.fault
        return [_embedded(image) for image in images]


@dataclass
class FakeUrlFetcher:
    """Knows the URLs it was told."""

    pages: dict = field(default_factory=dict)  # url -> bytes, or the error to raise
    gate: asyncio.Event | None = None  # holds every fetch until it is set
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def fetch(self, url, *, max_bytes):
        del max_bytes
        self.arrived.release()
        if self.gate:
            await self.gate.wait()
        match self.pages.get(url, UndecodableImage("nothing there")):
            case Exception() as error:
                raise error
            case page:
                return page


@dataclass
class FakeStatus:
    state: SystemState = SystemState.HEALTHY
    deployments: dict = field(default_factory=lambda: {"Ingress": "HEALTHY"})

    async def health(self):
        loaded = self.state is not SystemState.STARTING
        return Health(self.state, loaded, gpu_available=False, deployments=self.deployments)

    async def metrics(self):
        return "# TYPE up gauge\nup 1\n"


PACK = Pack(
    "fake",
    DetectorInfo("fake_detector", "fake", "0" * 64),
    {
        "arcface": RecogniserInfo("r112", "fake", "1" * 64, Alignment.ARCFACE_112, DIMENSION),
        "facenet": RecogniserInfo("r160", "fake", "2" * 64, Alignment.FACENET_160, DIMENSION),
    },
)


def face_service(detector=None):
    embedders = {"arcface": FakeFaceEmbedder(), "facenet": FakeFaceEmbedder()}
    defaults = FaceDefaults(
        min_score=0.5,
        min_score_floor=0.1,
        max_faces=200,
        det_size=640,
        embedders=("arcface",),
    )
    return FaceService(detector or FakeFaceDetector(), embedders, PACK, defaults)


def capabilities(detector=None, embedder=None, cards=None):
    """What operations run on."""
    return Capabilities(
        face_service(detector),
        ImageService(embedder or FakeImageEmbedder()),
        cards or card_service(),
    )


def _embedded(image):
    seen = _outcome(image, DetectOptions())
    if isinstance(seen, OmmaError):
        return seen
    vector = np.random.default_rng(zlib.crc32(image)).standard_normal(DIMENSION).astype(np.float32)
    values = vector / np.linalg.norm(vector)
    timings_ms = {"decode": 1.234567, "embed": 2.0}
    return ImageEmbedding("fake_space", "fake_model", values, WIDTH_PX, HEIGHT_PX, timings_ms)


def _outcome(image, options):
    match image:
        case b"":
            return EmptyImage("zero bytes")
        case b"truncated":
            return TruncatedImage("ends in its third row")
        case b"bomb":
            return TooManyPixels("expected at most 50000000 pixels, got 900000000")
    if found := re.fullmatch(rb"faces:(\d+)", image):
        return _detection(int(found[1]), options)
    return _detection(1, options) if image.startswith(MAGIC) else UndecodableImage("not an image")


def _detection(count, options):
    faces = [face for face in map(_face, range(count)) if face.score >= options.min_score]
    faces = faces[: options.max_faces]
    sides = {Alignment.ARCFACE_112: 112, Alignment.FACENET_160: 160}
    return Detection(
        WIDTH_PX,
        HEIGHT_PX,
        tuple(faces),
        {a: np.zeros((len(faces), sides[a], sides[a], 3), np.uint8) for a in options.alignments},
        tuple(b"\xff\xd8jpeg" for _ in faces) if options.crops else (),
        {"decode": 1.234567, "engine": 2.0},
    )


def _face(index):
    x, y = 10.0 + 40 * (index % 12), 20.0 + 40 * (index // 12)
    box = np.array([x, y, x + 30.125, y + 36.5], np.float32)
    fractions = np.linspace(0.2, 0.8, len(LANDMARK_NAMES))[:, None]
    landmarks = (box[:2] + fractions * (box[2:] - box[:2])).astype(np.float32)
    return Face(box, landmarks, score=max(0.99 - 0.01 * index, 0.0), quality=0.5)
