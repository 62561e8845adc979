"""What is to be drawn on a card."""

from dataclasses import dataclass, replace
from enum import StrEnum


class Frame(StrEnum):
    """Colour of a card's frame."""

    WHITE = "white"
    BLUE = "blue"
    BLACK = "black"
    RED = "red"
    GREEN = "green"
    GOLD = "gold"
    GREY = "grey"


class Rarity(StrEnum):
    """Colour of the set symbol."""

    COMMON = "common"
    UNCOMMON = "uncommon"
    RARE = "rare"
    MYTHIC = "mythic"


@dataclass(frozen=True, slots=True)
class CardSpec:
    """Everything that decides a card's pixels."""

    name: str
    type_line: str
    text: str  # paragraphs end with a line feed
    set_code: str
    collector_number: str
    art_seed: int  # the same for all printings of one art
    symbol_seed: int  # the set's
    frame: Frame = Frame.GREY
    rarity: Rarity = Rarity.COMMON
    cost: str = ""  # one pip per letter or digit: "2UU"
    strength: str = ""  # "3/4" for creatures
    artist: str = ""
    is_old_style: bool = False  # without bars behind name and type
    back: "CardSpec | None" = None  # of two-faced cards

    @property
    def card_id(self) -> str:
        """One printing."""
        return f"{self.set_code}-{self.collector_number}".lower()

    @property
    def illustration(self) -> str:
        """The same for all printings of one art."""
        return f"art-{self.art_seed}"

    def reprinted(self, set_code: str, collector_number: str, symbol_seed: int) -> "CardSpec":
        """The same card in another set: only the symbol and the collector line differ."""
        back = self.back and self.back.reprinted(set_code, collector_number, symbol_seed)
        return replace(
            self,
            set_code=set_code,
            collector_number=collector_number,
            symbol_seed=symbol_seed,
            back=back,
        )
