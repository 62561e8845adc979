"""The whole application: which deployment feeds which.

serve run graph:app           one replica of everything, CPU
omma up                       the same graph, sized by config/local.yaml
"""

from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve import Application

from deployments.capabilities import CARDS, DETECTION, EMBEDDING
from deployments.cards import CardMatching
from deployments.faces import FaceDetection, FaceEmbedding
from deployments.images import ImageEmbedding
from deployments.ingress import Ingress
from deployments.jobs import JobRunner
from omma.settings import Settings

NAMES = {"arcface": "ArcFace", "facenet": "FaceNet"}  # deployments of one class, by slot


def build(settings: Settings) -> Application:
    """The graph as `serve run` and `serve deploy` build it; they add a file's sizes themselves."""
    return build_sized(settings, {})


def build_sized(settings: Settings, sizes: Mapping[str, Mapping[str, Any]]) -> Application:
    """Wire every deployment; ``sizes`` holds Serve's options by deployment name."""

    def bind(cls: type, name: str, *args: Any) -> Application:
        return serve.deployment(name=name, **sizes.get(name, {}))(cls).bind(*args)

    models: dict[str, Application] = {}  # what is not here the ingress has in itself
    if not settings.faces.colocated:
        models[DETECTION] = bind(FaceDetection, "FaceDetection", settings)
        for slot in settings.faces.embedders:
            models[slot] = bind(FaceEmbedding, NAMES[slot], settings, slot)
        models[EMBEDDING] = bind(ImageEmbedding, "ImageEmbedding", settings)
    if settings.cards.enabled and not settings.cards.colocated:
        models[CARDS] = bind(CardMatching, "CardMatching", settings)
    runner = None if settings.jobs.colocated else bind(JobRunner, "JobRunner", settings, models)
    return bind(Ingress, "Ingress", settings, models, runner)


app = build(Settings())
