"""What the image service needs from models that see whole images, near and far."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from omma.domain.errors import OmmaError
from omma.domain.faces import Lane
from omma.domain.images import ImageEmbedding


class ImageEmbedder(Protocol):
    """Embeds encoded images; answers or fails each image by itself."""

    async def embed(
        self, images: Sequence[bytes], *, lane: Lane = Lane.INTERACTIVE
    ) -> list[ImageEmbedding | OmmaError]:
        """One embedding, or the reason why not, per image in the order given."""
        ...


class ImageEmbedderEngine(Protocol):
    """A model in this process: sync, batch in, batch out, safe to call from threads."""

    def run(self, pixels: UInt8[np.ndarray, "n h w 3"], /) -> Float32[np.ndarray, "n d"]:
        """Unit vectors, one per RGB image of the model's input size."""
        ...
