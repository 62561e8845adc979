"""Embeddings as HTTP writes them."""

import base64
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, Field, InstanceOf, WithJsonSchema

Encoding = Literal["float", "base64"]

# The server puts its arrays in as they are: a list of floats costs ten times as much to write.
Values = Annotated[
    InstanceOf[np.ndarray] | list[float] | str,
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]}),
]


class Embedding(BaseModel):
    """A unit vector; compare it only with vectors of the same space."""

    space: str
    dimension: int
    values: Values = Field(
        description="Numbers, or base64 of little-endian float32 when asked for."
    )


def encoded(values: Float32[np.ndarray, " d"], encoding: Encoding) -> np.ndarray | str:
    """``values`` as `Embedding` holds them."""
    row = np.ascontiguousarray(values, dtype="<f4")
    return base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row
