"""Domain values in their wire form."""

import base64
from collections.abc import Mapping

import orjson
from fastapi import Response
from pydantic import BaseModel

from omma.domain.faces import Detection, EmbeddedFaces, Embedding
from omma.wire.embeddings import Encoding, encoded
from omma.wire.faces import (
    SCORE_DECIMALS,
    Bbox,
    DetectAnswer,
    DetectedFace,
    EmbedAnswer,
    EmbeddedFace,
    FaceEmbedding,
    Landmarks,
)
from omma.wire.images import Size


def as_json(answer: BaseModel, status: int = 200) -> Response:
    """What was not asked for is absent, not null."""
    body = orjson.dumps(answer.model_dump(exclude_none=True), option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, media_type="application/json")


def detect_answer(found: Detection, model: str) -> DetectAnswer:
    """The faces of one image."""
    return DetectAnswer(
        image=Size(width=found.width_px, height=found.height_px),
        model=model,
        faces=[_face(found, index) for index in range(len(found.faces))],
        timings_ms=timings(found.timings_ms),
    )


def embed_answer(embedded: EmbeddedFaces, model: str, encoding: Encoding) -> EmbedAnswer:
    """The faces of one image with their embeddings."""
    found = embedded.detection
    faces = [
        EmbeddedFace(
            **dict(_face(found, index)),
            embeddings={name: _embedding(e, encoding) for name, e in embeddings.items()},
        )
        for index, embeddings in enumerate(embedded.embeddings)
    ]
    size = Size(width=found.width_px, height=found.height_px)
    return EmbedAnswer(
        image=size, model=model, faces=faces, timings_ms=timings(embedded.timings_ms)
    )


def timings(took_ms: Mapping[str, float]) -> dict[str, float]:
    """Hundredths of a millisecond are enough."""
    return {name: round(value, 2) for name, value in took_ms.items()}


def _face(found: Detection, index: int) -> DetectedFace:
    face = found.faces[index]
    return DetectedFace(
        face_index=index,
        bbox=Bbox.of(face.box),
        confidence=round(face.score, SCORE_DECIMALS),
        quality=round(face.quality, SCORE_DECIMALS),
        landmarks=Landmarks.of(face.landmarks),
        crop=base64.b64encode(found.crops[index]).decode() if found.crops else None,
    )


def _embedding(embedding: Embedding, encoding: Encoding) -> FaceEmbedding:
    return FaceEmbedding(
        space=embedding.space,
        dimension=len(embedding.values),
        values=encoded(embedding.values, encoding),
    )
