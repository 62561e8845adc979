"""Cards, asked for from here."""

from urllib.parse import quote

from omma.client.connection import Connection, read
from omma.wire.cards import (
    CardAnswer,
    CardListAnswer,
    CardMatchParams,
    CorrectionAnswer,
    CorrectionParams,
    RecogniseAnswer,
)

CARDS = "/api/v1/cards"
BYTES = {"content-type": "application/octet-stream"}  # the server looks at the bytes


class CardCalls(Connection):
    """What one may ask about cards."""

    async def recognise_cards(
        self, image: bytes, params: CardMatchParams | None = None
    ) -> RecogniseAnswer:
        """The cards of one encoded image, best first."""
        query = params.model_dump(exclude_defaults=True) if params else {}
        answer = await self._ask(
            "POST", f"{CARDS}/recognise", params=query, content=image, headers=BYTES
        )
        return read(RecogniseAnswer, answer)

    async def card(self, card_id: str) -> CardAnswer:
        """What is known of a card."""
        return await self._read_from(CardAnswer, "GET", f"{CARDS}/{quote(card_id, safe='')}")

    async def search_cards(self, name: str, *, limit: int = 20) -> CardListAnswer:
        """Cards by name, the nearest first."""
        query = {"name": name, "limit": limit}
        return await self._read_from(CardListAnswer, "GET", CARDS, params=query)

    async def correct_card(
        self, image: bytes, said: CorrectionParams | None = None
    ) -> CorrectionAnswer:
        """Say what an image shows; without ``said``, that it shows no card of the index."""
        fields = said.model_dump(mode="json", exclude_defaults=True) if said else {}
        form = {name: str(value) for name, value in fields.items()}
        return await self._read_from(
            CorrectionAnswer,
            "POST",
            f"{CARDS}/corrections",
            data=form,
            files={"file": ("image", image)},
        )
