"""What the application does with faces."""

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from omma.domain.errors import InvalidInput, ModelNotFound, OmmaError, Unavailable
from omma.domain.faces import (
    Detection,
    DetectOptions,
    DetSize,
    EmbeddedFaces,
    Embedding,
    Lane,
)
from omma.domain.models import Pack, embedding_space
from omma.ports.faces import FaceDetector, FaceEmbedder

_Embeddings = tuple[Mapping[str, Embedding], ...]  # one mapping per face of an image


@dataclass(frozen=True, slots=True)
class FaceQuery:
    """What a caller asks of its images; None means the service's default."""

    min_score: float | None = None
    max_faces: int | None = None
    det_size: DetSize | None = None
    crops: bool = False
    models: tuple[str, ...] = ()  # embedders by slot or by model name; empty means the default

    def __post_init__(self) -> None:
        """Over HTTP the wire has checked them; handles bring what their callers wrote."""
        if self.min_score is not None and not 0 <= self.min_score <= 1:  # nan is not either
            raise InvalidInput(f"expected min_score from 0 to 1, got {self.min_score!r}")
        if self.max_faces is not None and self.max_faces < 1:
            raise InvalidInput(f"expected max_faces of at least 1, got {self.max_faces!r}")
        if self.det_size is not None and self.det_size not in get_args(DetSize):
            raise InvalidInput(f"expected det_size of {get_args(DetSize)}, got {self.det_size!r}")


@dataclass(frozen=True, slots=True)
class FaceDefaults:
    """What holds where a query says nothing."""

    min_score: float
    min_score_floor: float  # a query may ask for no less
    max_faces: int
    det_size: DetSize
    embedders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FaceService:
    """Use cases over faces; one instance serves every request."""

    detector: FaceDetector
    embedders: Mapping[str, FaceEmbedder]  # by slot of the pack
    pack: Pack
    defaults: FaceDefaults

    @property
    def detector_name(self) -> str:
        """The model that finds faces."""
        return self.pack.detector.name

    @property
    def embedder_names(self) -> tuple[str, ...]:
        """The slots a query may name."""
        return tuple(self.embedders)

    def check(self, query: FaceQuery) -> None:
        """Raise what answering ``query`` would raise, whatever the images."""
        self._options(query)
        self._slots(query.models)

    async def detect(
        self, images: Sequence[bytes], query: FaceQuery, *, lane: Lane = Lane.INTERACTIVE
    ) -> list[Detection | OmmaError]:
        """The faces of each image, or why that image has no answer, in the order given."""
        return await self.detector.detect(images, self._options(query), lane=lane)

    async def embed(
        self, images: Sequence[bytes], query: FaceQuery, *, lane: Lane = Lane.INTERACTIVE
    ) -> list[EmbeddedFaces | OmmaError]:
        """The same with embeddings; raises `ModelNotFound` before any work is done."""
        slots = self._slots(query.models)
        alignments = tuple({self.pack.recognisers[slot].alignment for slot in slots})
        options = replace(self._options(query), alignments=alignments)
        outcomes = await self.detector.detect(images, options, lane=lane)
        started = time.perf_counter()
        found = [outcome for outcome in outcomes if isinstance(outcome, Detection)]
        embedded = iter(await self._embed_each(found, slots, lane))
        took_ms = (time.perf_counter() - started) * 1000
        return [
            _with_embeddings(outcome, next(embedded), took_ms)
            if isinstance(outcome, Detection)
            else outcome
            for outcome in outcomes
        ]

    async def _embed_each(
        self, found: Sequence[Detection], slots: tuple[str, ...], lane: Lane
    ) -> Sequence[_Embeddings | OmmaError]:
        """All images together; where that fails one after the other, so that one fails alone."""
        try:
            return await self._embed_all(found, slots, lane)
        except Unavailable:  # it would be no better for each
            raise
        except OmmaError as error:
            if len(found) == 1:
                return [error]
            return [(await self._embed_each([each], slots, lane))[0] for each in found]

    async def _embed_all(
        self, found: Sequence[Detection], slots: tuple[str, ...], lane: Lane
    ) -> list[_Embeddings]:
        """Embed the faces of all images in one call a recogniser; split again by image."""
        columns = await asyncio.gather(*(self._column(found, slot, lane) for slot in slots))
        rows = [dict(zip(slots, row, strict=True)) for row in zip(*columns, strict=True)]
        ends = list(itertools.accumulate(len(detection.faces) for detection in found))
        return [tuple(rows[end - len(d.faces) : end]) for d, end in zip(found, ends, strict=True)]

    async def _column(self, found: Sequence[Detection], slot: str, lane: Lane) -> list[Embedding]:
        """One embedding per face of ``found`` in one recogniser's space."""
        recogniser = self.pack.recognisers[slot]
        crops = [d.aligned[recogniser.alignment] for d in found if d.faces]
        if not crops:
            return []
        vectors = await self.embedders[slot].embed(np.concatenate(crops), lane=lane)
        space = embedding_space(self.pack.detector, recogniser)
        return [Embedding(space, values) for values in vectors]

    def _options(self, query: FaceQuery) -> DetectOptions:
        defaults = self.defaults
        min_score = defaults.min_score if query.min_score is None else query.min_score
        if min_score < defaults.min_score_floor:
            raise InvalidInput(
                f"expected min_score of at least {defaults.min_score_floor}, got {min_score}"
            )
        return DetectOptions(
            min_score=min_score,
            max_faces=min(query.max_faces or defaults.max_faces, defaults.max_faces),
            det_size=query.det_size or defaults.det_size,
            crops=query.crops,
        )

    def _slots(self, names: tuple[str, ...]) -> tuple[str, ...]:
        by_name = {self.pack.recognisers[slot].name: slot for slot in self.embedders}
        wanted = names or self.defaults.embedders
        for name in wanted:
            if name not in self.embedders and name not in by_name:
                raise ModelNotFound(name, self.embedder_names)
        return tuple(dict.fromkeys(by_name.get(name, name) for name in wanted))


def _with_embeddings(
    detection: Detection, embedded: _Embeddings | OmmaError, took_ms: float
) -> EmbeddedFaces | OmmaError:
    if isinstance(embedded, OmmaError):
        return embedded
    return EmbeddedFaces(detection, embedded, {**detection.timings_ms, "embed": took_ms})
