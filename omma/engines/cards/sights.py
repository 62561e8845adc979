"""Where the telling apart of printings of one art comes in: at extraction, and after a match."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Float64, UInt8


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A card's place in a photograph, as one candidate explains it."""

    regions: bytes  # of the candidate's picture, as `PrintingJudge.cut` made them
    homography: Float64[np.ndarray, "3 3"]  # from a card of 1 by 1 to px of the photograph
    aspect: float  # width by height of the candidate's picture


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Which of the candidates it is."""

    probabilities: Float32[np.ndarray, " n"]  # in the order given; sum to 1
    is_certain: bool  # whether the best of them may be named alone


class PrintingJudge(Protocol):
    """Tells printings of one art apart by what is printed around the art."""

    @property
    def form(self) -> str:
        """Names how regions are cut: those of another form are cut anew."""
        ...

    def cut(self, picture: UInt8[np.ndarray, "h w 3"], /) -> bytes:
        """What is to be kept of an upright RGB picture of a whole card."""
        ...

    def decide(
        self, photo: UInt8[np.ndarray, "h w 3"], sights: Sequence[Sight], /
    ) -> Decision | None:
        """Which of two or more it is, best geometric fit first; None where nothing tells."""
        ...


class NoJudge:
    """Keeps nothing and tells nothing apart."""

    form = "none"

    def cut(self, picture: UInt8[np.ndarray, "h w 3"], /) -> bytes:  # noqa: ARG002 - the protocol's
        """No bytes."""
        return b""

    def decide(
        self,
        photo: UInt8[np.ndarray, "h w 3"],  # noqa: ARG002 - the protocol's
        sights: Sequence[Sight],  # noqa: ARG002 - the protocol's
        /,
    ) -> Decision | None:
        """Never knows."""
        return None
