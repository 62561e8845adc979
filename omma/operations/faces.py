"""What is done with the faces of an image; routes and commands are by hand, as documented."""

from collections.abc import Mapping, Sequence
from typing import Any

from omma.domain.errors import OmmaError
from omma.domain.faces import Detection, EmbeddedFaces, Embedding, Face, Lane
from omma.domain.jobs import Json
from omma.operations.declaring import ActionType, Capabilities, Operation
from omma.operations.keeping import npy
from omma.ports.operations import Kept
from omma.services.faces import FaceQuery
from omma.wire.faces import SCORE_DECIMALS, Bbox, FaceParams, Landmarks, ModelNames


class FaceEmbeddingParams(FaceParams):
    """The same with the recognisers that are asked."""

    models: ModelNames = ()


def _require(capabilities: Capabilities, params: FaceParams) -> None:
    capabilities.faces.check(_query(params))


async def _detect(
    capabilities: Capabilities, images: Sequence[bytes], params: FaceParams, lane: Lane
) -> list[Detection | OmmaError]:
    return await capabilities.faces.detect(images, _query(params), lane=lane)


async def _embed(
    capabilities: Capabilities, images: Sequence[bytes], params: FaceEmbeddingParams, lane: Lane
) -> list[EmbeddedFaces | OmmaError]:
    return await capabilities.faces.embed(images, _query(params), lane=lane)


def _query(params: FaceParams) -> FaceQuery:
    return FaceQuery(
        min_score=params.min_score,
        max_faces=params.max_faces,
        det_size=params.det_size,
        crops=True,  # a job keeps them beside its result
        models=params.models if isinstance(params, FaceEmbeddingParams) else (),
    )


def _keep_detection(found: Detection, folder: str) -> Kept:
    faces = [
        _described(face, index)
        | {"landmarks": Landmarks.of(face.landmarks).model_dump(mode="json")}
        | {"crop_path": f"{folder}/{_crop(index)}"}
        for index, face in enumerate(found.faces)
    ]
    return Kept({"faces": faces}, _crops(found))


def _keep_embedding(embedded: EmbeddedFaces, folder: str) -> Kept:
    found, files, faces = embedded.detection, _crops(embedded.detection), list[Json]()
    for index, (face, embeddings) in enumerate(zip(found.faces, embedded.embeddings, strict=True)):
        places = _places(index, tuple(embeddings))
        files |= {places[name]: npy(each.values) for name, each in embeddings.items()}
        faces.append(
            _described(face, index)
            | _located(embeddings, {name: f"{folder}/{path}" for name, path in places.items()})
            | {"crop_path": f"{folder}/{_crop(index)}"}
        )
    return Kept({"faces": faces}, files)


def _described(face: Face, index: int) -> dict[str, Any]:
    bbox = Bbox.of(face.box).model_dump()
    return {"face_index": index, "bbox": bbox, "confidence": round(face.score, SCORE_DECIMALS)}


def _places(index: int, names: Sequence[str]) -> dict[str, str]:
    """Where each recogniser's embedding lies: the first one's at the documented path."""
    return {
        name: f"faces/{index}.{name}.bin" if at else f"faces/{index}.bin"
        for at, name in enumerate(names)
    }


def _located(embeddings: Mapping[str, Embedding], paths: Mapping[str, str]) -> dict[str, Any]:
    """The documented fields for the first recogniser; where several were asked, all by name."""
    each = {
        name: {
            "embedding_dimension": len(embedding.values),
            "embedding_path": paths[name],
            "embedding_space": embedding.space,
        }
        for name, embedding in embeddings.items()
    }
    first = next(iter(each.values()))
    return first | ({"embeddings": each} if len(each) > 1 else {})


def _crops(found: Detection) -> dict[str, bytes]:
    return {_crop(index): jpeg for index, jpeg in enumerate(found.crops)}


def _crop(index: int) -> str:
    return f"faces/{index}.jpg"


def _measure_detection(found: Detection) -> Json:
    return _counted(found, found.timings_ms)


def _measure_embedding(embedded: EmbeddedFaces) -> Json:
    dimensions = {
        name: len(embedding.values)
        for embeddings in embedded.embeddings[:1]
        for name, embedding in embeddings.items()
    }
    counted = _counted(embedded.detection, embedded.timings_ms)
    return counted | {"embedding_dimensions": dimensions}


def _counted(found: Detection, timings_ms: Mapping[str, float]) -> dict[str, Any]:
    return {
        "success": True,
        "faces_found": len(found.faces),
        "confidence_scores": [round(face.score, SCORE_DECIMALS) for face in found.faces],
        "processing_ms": round(sum(timings_ms.values()), 2),
    }


FACE_DETECTION = Operation(
    name="face_detection",
    noun="faces",
    verb="detect",
    summary="Find every face of an image, best first.",
    action=ActionType.FACE_DETECTION,
    params=FaceParams,
    require=_require,
    run=_detect,
    keep=_keep_detection,
    measure=_measure_detection,
)

FACE_EMBEDDING = Operation(
    name="face_embedding",
    noun="faces",
    verb="embed",
    summary="Find every face of an image and embed it, best first.",
    action=ActionType.FACE_EMBEDDING,
    params=FaceEmbeddingParams,
    require=_require,
    run=_embed,
    keep=_keep_embedding,
    measure=_measure_embedding,
)
