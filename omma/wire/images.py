"""Whole images: by reference or by value in a JSON body, and what is answered about them."""

from pydantic import BaseModel, ConfigDict, Field

from omma.wire.embeddings import Embedding, Encoding
from omma.wire.operations import Answer, Params


class ImageUrl(BaseModel):
    """The server fetches the image itself."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=1,
        max_length=8192,
        description="http or https, on a public address.",
        examples=["https://example.com/group.jpg"],
    )


class ImageData(BaseModel):
    """The image's bytes within the JSON."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(min_length=1, description="Base64, or a data URL in base64.")


class Size(BaseModel):
    """Of the upright image, in px."""

    width: int
    height: int


class ImageEmbedParams(Params):
    """The query of an image's embedding."""

    encoding: Encoding = Field(
        default="float", description="Numbers, or base64 of little-endian float32."
    )


class ImageEmbedAnswer(Answer):
    """Where a model places an image as a whole: what looks alike lies near."""

    image: Size
    model: str
    embedding: Embedding
