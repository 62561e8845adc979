"""A few dozen cards that omma draws itself, so that there is something to recognise at once."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from functools import cached_property
from pathlib import Path

import cv2

from omma.domain.cards import Card, CardFace, CardId
from omma.domain.errors import MediaNotFound
from omma.domain.indexes import SourcePlan
from omma.vision.drawing import CardSpec, draw_card, sample_specs

CARDS, SEED = 40, 7
DRAWING = 1  # raise it when cards are drawn in another way: their pictures are then others
LAYOUTS = {False: "normal", True: "transform"}  # by whether there is a back
IMAGE_BYTES = 200_000
IMAGES_PER_S = 10.0


class SampleSource:
    """`CardSource` of drawn cards, the same ones every time; needs no network and no file."""

    def __init__(self, count: int = CARDS, seed: int = SEED) -> None:
        self._count, self._seed = count, seed

    @property
    def name(self) -> str:
        return "sample"

    async def plan(self) -> SourcePlan:
        faces = len(self._faces)
        return SourcePlan(
            source=self.name,
            cards=self._count,
            faces=faces,
            new_images=faces,
            download_bytes=0,
            hours=faces / IMAGES_PER_S / 3600,
            is_exact=True,
        )

    async def cards(self, work: Path) -> AsyncIterator[Sequence[Card]]:
        del work
        yield [_card(spec) for spec in sample_specs(self._count, self._seed)]

    async def image(self, face: CardFace) -> bytes:
        spec = self._faces.get(face.image_url)
        if spec is None:
            raise MediaNotFound(f"the sample has no picture {face.image_url!r}")
        return await asyncio.to_thread(_png, spec)

    async def close(self) -> None:
        """Nothing is open."""

    @cached_property
    def _faces(self) -> dict[str, CardSpec]:
        """What to draw, by where a face says that its picture lies."""
        return {
            _place(spec, number): side
            for spec in sample_specs(self._count, self._seed)
            for number, side in enumerate(_sides(spec))
        }


def _sides(spec: CardSpec) -> list[CardSpec]:
    return [spec, *([spec.back] if spec.back else [])]


def _place(spec: CardSpec, number: int) -> str:
    return f"sample:{spec.card_id}/{number}"


def _card(spec: CardSpec) -> Card:
    sides = _sides(spec)
    return Card(
        card_id=CardId(spec.card_id),
        name=" // ".join(side.name for side in sides),
        set_code=spec.set_code,
        set_name=f"Sample set {spec.set_code.upper()}",
        collector_number=spec.collector_number,
        layout=LAYOUTS[spec.back is not None],
        finishes=("nonfoil",),
        faces=tuple(
            CardFace(number, side.name, _place(spec, number), _key(side), side.illustration)
            for number, side in enumerate(sides)
        ),
        extra={"type": spec.type_line, "artist": spec.artist},
    )


def _key(spec: CardSpec) -> str:
    """Another one when another card would be drawn."""
    return hashlib.sha256(f"{DRAWING} {spec!r}".encode()).hexdigest()[:16]


def _png(spec: CardSpec) -> bytes:
    bgr = cv2.cvtColor(draw_card(spec), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr)[1].tobytes()
