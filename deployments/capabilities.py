"""The services that operations run on, over engines near or far."""

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.bundles import open_import
from deployments.cards import SnapshotMatcher
from deployments.faces import FaceDetection, FaceEmbedding
from deployments.handles import (
    RemoteCardMatcher,
    RemoteFaceDetector,
    RemoteFaceEmbedder,
    RemoteImageEmbedder,
)
from deployments.hands import open_engines
from deployments.images import ImageEmbedding
from deployments.nightly import open_rebuild
from deployments.records import Records
from omma.operations.declaring import Capabilities
from omma.ports.cards import CardMatcher
from omma.ports.faces import FaceDetector, FaceEmbedder
from omma.services.cards import CardLimits, CardService
from omma.services.faces import FaceDefaults, FaceService
from omma.services.images import ImageService
from omma.services.scans import ScanLimits, Scans
from omma.settings import Settings
from omma.stores.catalogue import Catalogue
from omma.vision.images import ImageLimits

Handles = Mapping[str, DeploymentHandle[Any]]  # of models, by what they do

DETECTION, EMBEDDING, CARDS = "detection", "embedding", "cards"  # beside the slots of recognisers


@dataclass(frozen=True, slots=True)
class Opened:
    """The services, and what of them follows an index in this very process."""

    capabilities: Capabilities
    matcher: SnapshotMatcher | None

    def check(self) -> None:
        """Raise `NotReady` when that has died."""
        if self.matcher is not None:
            self.matcher.check()

    async def stop(self) -> None:
        """Follow no more."""
        if self.matcher is not None:
            await self.matcher.stop()


def open_capabilities(settings: Settings, handles: Handles, records: Records) -> Opened:
    """Services over ``handles``; of what has none there, over engines in this very process.

    Those share one pool of threads: they share the cores, so they take turns.
    """
    threads = ThreadPoolExecutor(settings.faces.detection.streams, thread_name_prefix="engine")
    faces, images = _faces(settings, handles, threads)
    if not settings.cards.enabled:
        return Opened(Capabilities(faces, images), None)
    matcher = None
    if CARDS not in handles:
        matcher = SnapshotMatcher(settings, records, open_engines(settings), threads)
        matcher.start()
    asked = matcher or RemoteCardMatcher(handles[CARDS], settings.cards.max_batch)
    cards, rebuild = _card_service(settings, records, asked), open_rebuild(settings, records)
    bundle = open_import(settings, records)
    return Opened(Capabilities(faces, images, cards, rebuild, bundle), matcher)


def _faces(
    settings: Settings, handles: Handles, threads: Executor
) -> tuple[FaceService, ImageService]:
    slots = settings.faces.embedders
    if DETECTION in handles:
        remote = {slot: RemoteFaceEmbedder(handles[slot]) for slot in slots}
        faces = _face_service(settings, RemoteFaceDetector(handles[DETECTION]), remote)
        return faces, ImageService(RemoteImageEmbedder(handles[EMBEDDING]))
    near = {slot: FaceEmbedding(settings, slot, threads) for slot in slots}
    faces = _face_service(settings, FaceDetection(settings, threads), near)
    return faces, ImageService(ImageEmbedding(settings, threads))


def _card_service(settings: Settings, records: Records, matcher: CardMatcher) -> CardService:
    cards, images = settings.cards, settings.images
    return CardService(
        matcher=matcher,
        records=records.cards,
        corrections=records.corrections,
        blobs=records.blobs,
        sweeps=records.sweeps,
        scans=Scans(
            records.sessions,
            ScanLimits(cards.session_s, cards.max_sessions, cards.max_own_sessions),
        ),
        limits=CardLimits(cards.max_cards, ImageLimits(images.max_pixels, images.max_frames)),
    )


def _face_service(
    settings: Settings, detector: FaceDetector, embedders: Mapping[str, FaceEmbedder]
) -> FaceService:
    faces = settings.faces
    pack = Catalogue.read(settings.models_file).pack(faces.pack)
    defaults = FaceDefaults(
        faces.min_score,
        faces.min_score_floor,
        faces.max_faces,
        faces.det_size,
        faces.default_embedders,
    )
    return FaceService(detector, embedders, pack, defaults)
