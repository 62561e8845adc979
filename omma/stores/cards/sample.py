"""A few dozen drawn cards that come with omma, and their index: something to recognise at once.

`python -m benchmarks.sample` draws the pictures, writes the table and builds the index.
"""

from pathlib import Path

from omma.stores.cards.folder import FolderSource

SAMPLE = Path(__file__).with_name("sample_cards")
INDEX = SAMPLE / "index"  # as a snapshot keeps its files


def open_sample() -> FolderSource:
    """The cards as a source."""
    return FolderSource(SAMPLE, max_image_bytes=1024 * 1024, name="sample")
