"""The services that operations run on, over engines near or far."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.faces import FaceDetection, FaceEmbedding
from deployments.handles import RemoteFaceDetector, RemoteFaceEmbedder, RemoteImageEmbedder
from deployments.images import ImageEmbedding
from omma.operations.declaring import Capabilities
from omma.ports.faces import FaceDetector, FaceEmbedder
from omma.services.faces import FaceDefaults, FaceService
from omma.services.images import ImageService
from omma.settings import Settings
from omma.stores.catalogue import Catalogue

Handles = Mapping[str, DeploymentHandle[Any]]  # of models, by what they do

DETECTION, EMBEDDING = "detection", "embedding"  # beside the slots of recognisers


def open_capabilities(settings: Settings, handles: Handles) -> Capabilities:
    """Services over ``handles``; where there are none, over engines in this very process."""
    if not handles:
        return _here(settings)
    embedders = {slot: RemoteFaceEmbedder(handles[slot]) for slot in settings.faces.embedders}
    faces = _face_service(settings, RemoteFaceDetector(handles[DETECTION]), embedders)
    return Capabilities(faces, ImageService(RemoteImageEmbedder(handles[EMBEDDING])))


def _here(settings: Settings) -> Capabilities:
    """All engines over one pool of threads: they share the cores, so they take turns."""
    threads = ThreadPoolExecutor(settings.faces.detection.streams, thread_name_prefix="engine")
    embedders = {slot: FaceEmbedding(settings, slot, threads) for slot in settings.faces.embedders}
    faces = _face_service(settings, FaceDetection(settings, threads), embedders)
    return Capabilities(faces, ImageService(ImageEmbedding(settings, threads)))


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
