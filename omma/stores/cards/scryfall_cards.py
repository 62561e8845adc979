"""Scryfall's card objects, as https://scryfall.com/docs/api/cards describes them, read as ours."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from omma.domain.cards import Card, CardFace, CardId
from omma.domain.errors import SourceCorrupt

NO_CARDS = {"art_series", "scheme", "plane", "planar", "phenomenon"}  # layouts not played as cards
NO_PICTURES = {"missing", "placeholder"}  # image_status: what is shown is not the card
# The first that there is: features are made at 320 px and regions at 880, so that `large`
# (672x936) does, and a `png` is ten times the bytes.
PICTURES = ("large", "png", "normal")


def is_wanted(found: Mapping[str, Any], language: str) -> bool:
    """Whether it is a printed card in ``language`` (empty for any) and no promotion."""
    return (
        found.get("layout") not in NO_CARDS
        and "paper" in (found.get("games") or ())
        and language in {"", found.get("lang")}
        and not found.get("digital")
        and not found.get("promo")
    )


def read_card(found: Mapping[str, Any], pictures: Sequence[str] = PICTURES) -> Card:
    """A card with its faces, of which one without a picture has none; `SourceCorrupt`."""
    try:
        return Card(
            card_id=CardId(_text(found["id"])),
            name=_text(found["name"]),
            set_code=found.get("set") or "",
            set_name=found.get("set_name") or "",
            collector_number=found.get("collector_number") or "",
            layout=found.get("layout") or "",
            finishes=tuple(found.get("finishes") or ()),
            prices=dict(found.get("prices") or {}),
            image_uris=_uris(found),
            released_at=found.get("released_at") or "",
            faces=_faces(found, pictures),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceCorrupt(f"expected a card of Scryfall's: {error!r}") from None


def _uris(found: Mapping[str, Any]) -> dict[str, str]:
    """Those of the card, or of the first of its faces that has some."""
    faces = found.get("card_faces") or ()
    sides = (found, *faces)
    given = [dict[str, str](side["image_uris"]) for side in sides if side.get("image_uris")]
    return given[0] if given else {}


def _faces(found: Mapping[str, Any], pictures: Sequence[str]) -> tuple[CardFace, ...]:
    """One where one picture shows all (split, flip, adventure), else one for each side's own."""
    if found.get("image_status") in NO_PICTURES:
        return ()
    parts = found.get("card_faces") or ()
    if found.get("image_uris"):
        arts = [found.get("illustration_id"), *(part.get("illustration_id") for part in parts)]
        art = "+".join(dict.fromkeys(filter(None, arts)))
        faces = [_face(found, found, 0, art, pictures)]
    else:
        faces = [
            _face(found, part, number, part.get("illustration_id") or "", pictures)
            for number, part in enumerate(parts)
        ]
    return tuple(face for face in faces if face is not None)


def _face(
    found: Mapping[str, Any],
    side: Mapping[str, Any],
    number: int,
    art: str,
    pictures: Sequence[str],
) -> CardFace | None:
    uris: Mapping[str, str] = side.get("image_uris") or {}
    kind = next((kind for kind in pictures if uris.get(kind)), None)
    if kind is None:
        return None
    return CardFace(
        number=number,
        name=_text(side["name"]),
        image_url=_text(uris[kind]),
        image_key=_key(kind, uris[kind], found),
        illustration=art,
    )


def _key(kind: str, url: str, found: Mapping[str, Any]) -> str:
    """Scryfall puts the time at which it got the picture behind the question mark."""
    if changed := urlsplit(url).query:
        return f"{kind}-{changed}"[:200]
    sharpness = "high" if found.get("highres_image") else "low"
    return f"{kind}-{found.get('image_status') or 'unknown'}-{sharpness}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"expected a text, got {value!r}")
    return value
