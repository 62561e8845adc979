"""What is done with whole images."""

from collections.abc import Sequence

from omma.domain.errors import OmmaError
from omma.domain.faces import Lane
from omma.domain.images import ImageEmbedding
from omma.domain.jobs import Json
from omma.operations.declaring import ActionType, Capabilities, Operation
from omma.operations.keeping import npy
from omma.ports.operations import Kept
from omma.wire.embeddings import Embedding, encoded
from omma.wire.images import ImageEmbedAnswer, ImageEmbedParams, Size

FILE = "embedding.bin"


async def _embed(
    capabilities: Capabilities, images: Sequence[bytes], _params: ImageEmbedParams, lane: Lane
) -> list[ImageEmbedding | OmmaError]:
    return await capabilities.images.embed(images, lane=lane)


def _answer(outcome: ImageEmbedding, params: ImageEmbedParams) -> ImageEmbedAnswer:
    return ImageEmbedAnswer(
        image=Size(width=outcome.width_px, height=outcome.height_px),
        model=outcome.model,
        embedding=Embedding(
            space=outcome.space,
            dimension=len(outcome.values),
            values=encoded(outcome.values, params.encoding),
        ),
        timings_ms=outcome.timings_ms,
    )


def _keep(outcome: ImageEmbedding, folder: str) -> Kept:
    result = {
        "embedding_dimension": len(outcome.values),
        "embedding_path": f"{folder}/{FILE}",
        "embedding_space": outcome.space,
    }
    return Kept(result, {FILE: npy(outcome.values)})


def _measure(outcome: ImageEmbedding) -> Json:
    return {
        "success": True,
        "model": outcome.model,
        "embedding_dimension": len(outcome.values),
        "processing_ms": round(sum(outcome.timings_ms.values()), 2),
    }


IMAGE_EMBEDDING = Operation(
    name="image_embedding",
    noun="images",
    verb="embed",
    summary="Embed whole images: what looks alike lies near.",
    action=ActionType.IMAGE_EMBEDDING,
    params=ImageEmbedParams,
    run=_embed,
    answer=_answer,
    keep=_keep,
    measure=_measure,
)
