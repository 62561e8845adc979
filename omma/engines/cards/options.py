"""Everything about the engine of cards that can be turned."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CardEngineOptions:
    """Defaults are those that were measured; see docs/cards.md."""

    threads: int = 1  # of one search in the index
    # Pictures that are indexed. Another value makes all features anew.
    picture_px: int = 320  # longer side; 256 and 384 find as much
    picture_keypoints: int = 200  # 300 find a tenth more for half as much memory again
    # The index.
    reduced: int = 64  # dimensions that codes are made of
    code_bytes: int = 16  # of one descriptor; its number comes on top, with eight
    probes: int = 8  # lists of the inverted file that a query looks into
    neighbours: int = 24  # of every query descriptor
    # Queries.
    crop_px: int = 256  # longer side of an image that is one card
    crop_keypoints: int = 400
    photo_px: int = 640  # of a photograph, at first
    photo_keypoints: int = 1000
    table_px: int = 1600  # of one that shows several cards, or nothing at first
    table_keypoints: int = 4000
    candidates: int = 12  # that are looked at closely, for each card that is asked for up to four
    min_score: float = 0.7  # below it no card is claimed; of 410 right answers none had less
