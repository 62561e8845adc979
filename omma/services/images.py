"""What the application does with whole images."""

from collections.abc import Sequence
from dataclasses import dataclass

from omma.domain.errors import OmmaError
from omma.domain.faces import Lane
from omma.domain.images import ImageEmbedding
from omma.ports.images import ImageEmbedder


@dataclass(frozen=True, slots=True)
class ImageService:
    """Use cases over whole images; one instance serves every request."""

    embedder: ImageEmbedder

    async def embed(
        self, images: Sequence[bytes], *, lane: Lane = Lane.INTERACTIVE
    ) -> list[ImageEmbedding | OmmaError]:
        """Where the model places each image, or why that image has no answer."""
        return await self.embedder.embed(images, lane=lane)
