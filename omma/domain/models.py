"""What a model is: a named file with a hash, a licence and a place in the system."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

DetSize = Literal["auto", 320, 640, 1280]  # px of the detector input's longer side


class Alignment(StrEnum):
    """How a recogniser wants its crops cut."""

    ARCFACE_112 = "arcface_112"  # five-point similarity warp onto the 112x112 template
    FACENET_160 = "facenet_160"  # the box with a margin, 160x160


class Framing(StrEnum):
    """How a model of whole images wants them brought to its size."""

    # Stretched, not cut: what lies at the edges of a wide picture counts too, and the weights'
    # publisher feeds them so.
    STRETCH_224 = "stretch_224"  # to 224x224, whatever the shape


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """A face detector as the catalogue describes it."""

    name: str
    family: str  # the engine that runs it: centerface, scrfd
    sha256: str  # of the file as published, before any conversion


@dataclass(frozen=True, slots=True)
class RecogniserInfo:
    """A face recogniser as the catalogue describes it."""

    name: str
    family: str  # the engine that runs it: arcface, facenet
    sha256: str
    alignment: Alignment
    dimension: int


def embedding_space(detector: DetectorInfo, recogniser: RecogniserInfo) -> str:
    """Name the space of ``recogniser``'s embeddings of ``detector``'s faces.

    Two embeddings compare only when these names are equal: the same face cut by another
    detector lies elsewhere (cosine 0.94 between CenterFace and SCRFD crops).
    """
    parts = (detector.sha256, recogniser.alignment, recogniser.sha256)
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()[:8]
    return f"{recogniser.name}:{detector.name}:{recogniser.alignment}:{digest}"


@dataclass(frozen=True, slots=True)
class Pack:
    """Models that belong together: one detector and its recognisers by slot."""

    name: str
    detector: DetectorInfo
    recognisers: dict[str, RecogniserInfo]  # slot (arcface, facenet) -> model


class Conversion(StrEnum):
    """What is done once to a published file so that an engine can run it."""

    FREE_DIMENSIONS = "free_dimensions"  # any batch, height and width
    FREE_BATCH = "free_batch"  # any batch; on CPUs without PRelu
    FROZEN_GRAPH = "frozen_graph"  # a TensorFlow 1 graph becomes ONNX
    TFJS_RESNET50 = "tfjs_resnet50"  # a TensorFlow.js ResNet50 becomes ONNX, up to its features


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's file is published: ``SCHEME:PACKAGE!MEMBER``."""

    scheme: str  # pypi, npm, https, file, insightface
    package: str  # NAME==VERSION, NAME@VERSION, a URL, a path, a pack
    member: str  # path inside the archive; empty when the package is the file itself

    def __str__(self) -> str:
        return f"{self.archive}!{self.member}" if self.member else self.archive

    @property
    def archive(self) -> str:
        """What is downloaded, once for all models in it."""
        return f"{self.scheme}:{self.package}"


@dataclass(frozen=True, slots=True)
class Licence:
    """What the model's publisher allows."""

    name: str
    text: str = ""  # shown before the download; where there is one, the user must agree to it


@dataclass(frozen=True, slots=True)
class Model:
    """One file of the catalogue, with everything known about it before it is fetched."""

    name: str
    slot: str  # detection, arcface, facenet, embedding
    family: str  # the engine that runs it
    source: Source
    sha256: str  # of the file as published, before any conversion
    size_bytes: int
    download_bytes: int  # of the archive that holds it
    licence: Licence
    input: str  # what the model expects, for people
    conversion: Conversion | None = None
    alignment: Alignment | None = None  # recognisers only
    framing: Framing | None = None  # models of whole images only
    dimension: int = 0


def image_space(model: Model) -> str:
    """Name the space of ``model``'s embeddings of whole images, as `embedding_space` does."""
    digest = hashlib.sha256(f"{model.framing}/{model.sha256}".encode()).hexdigest()[:8]
    return f"{model.name}:{model.framing}:{digest}"


class ModelState(StrEnum):
    """How far a model is from being served."""

    ABSENT = "absent"
    PULLED = "pulled"  # the published file is here
    CONVERTED = "converted"  # and so is what engines run


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file beside its record, by name, with what proves it whole."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Converted:
    """How a file was converted, and how far its answers are from the original's."""

    conversion: str
    version: int  # of our converter
    max_difference: float  # largest absolute difference of any output value
    tolerance: float
    tools: dict[str, str]  # library -> version


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What was stored of a model."""

    model: str
    source: str  # SCHEME:PACKAGE!MEMBER
    original: StoredFile
    runnable: StoredFile | None  # None until converted; the original where nothing is to convert
    converted: Converted | None


@dataclass(frozen=True, slots=True)
class PullStep:
    """What a pull will do for one model."""

    model: Model
    state: ModelState
    download_bytes: int  # 0 when it is here, or comes in an archive already counted
    disk_bytes: int  # what it will take in the end

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.state == self.goal

    @property
    def goal(self) -> ModelState:
        """The state in which engines can run the model."""
        return ModelState.CONVERTED if self.model.conversion else ModelState.PULLED


@dataclass(frozen=True, slots=True)
class PullProgress:
    """A sign of life of a pull."""

    subject: str  # a package while it downloads, a model while it converts
    stage: str  # download, store, convert, done
    done_bytes: int = 0
    total_bytes: int = 0
