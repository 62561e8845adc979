"""``python -m omma.engines.insightface_packs PACK TARGET``: a pack's zip, by insightface itself.

Its own downloader also unpacks every member wherever the archive says; the zip is all we take.
"""

# insightface declares no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

import sys

from insightface.utils import storage
from insightface.utils.download import download_file


def main() -> None:
    """Download one pack; insightface's own log goes to standard output."""
    pack, target = sys.argv[1:]
    download_file(storage.model_zoo_download_url(f"{pack}.zip"), path=target, overwrite=True)


if __name__ == "__main__":
    main()
