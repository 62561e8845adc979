"""The source of cards that the settings choose."""

from typing import assert_never

from omma.ports.cards import CardSource
from omma.settings import CardSourceSettings, Settings
from omma.stores.cards.folder import FolderSource
from omma.stores.cards.sample import open_sample
from omma.stores.cards.scryfall import ScryfallOptions, ScryfallSource
from omma.stores.web import Patience


def open_source(settings: Settings) -> CardSource | None:
    """Where cards come from; None where no source is chosen. To be closed by the caller."""
    source = settings.cards.source
    match source.type:
        case "none":
            return None
        case "sample":
            return open_sample()
        case "scryfall":
            return ScryfallSource(_scryfall(source))
        case "folder":
            folder = settings.home.absolute() / (source.folder or "")
            return FolderSource(folder, max_image_bytes=source.max_image_bytes)
        case other:
            assert_never(other)


def _scryfall(source: CardSourceSettings) -> ScryfallOptions:
    return ScryfallOptions(
        url=source.url,
        bulk=source.bulk,
        language=source.language,
        contact=source.contact,
        requests_per_s=source.requests_per_s,
        max_image_bytes=source.max_image_bytes,
        patience=Patience(timeout_s=source.timeout_s),
    )
