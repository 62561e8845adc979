"""Makes the sample of cards that omma ships: `python -m benchmarks.sample`.

Pictures and table are drawn by a seed; the index is built of the pictures as they were written,
so that it is what a rebuild from them gives.
"""

import csv
import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2

from benchmarks.cards_features import Gathered
from benchmarks.drawing import CardSpec, draw_card, sample_specs
from omma.domain.cards import CardId, ItemFeatures, ItemId
from omma.engines.cards import SiftCardEngines
from omma.services.assembling import write_contents
from omma.stores.cards.sample import INDEX, SAMPLE
from omma.stores.cards.tables import NAMES

CARDS, SEED = 40, 7
VERSION = "sample"
QUALITY = 80  # of WebP: a tenth of the bytes of PNG, and the same cards are found
LAYOUTS = {False: "normal", True: "transform"}  # by whether there is a back


def main() -> None:
    """Write the folder anew."""
    shutil.rmtree(SAMPLE, ignore_errors=True)
    INDEX.mkdir(parents=True)
    specs = sample_specs(CARDS, SEED)
    _write_table(SAMPLE / NAMES[0], specs)
    _build(INDEX, [item for spec in specs for item in _items(spec)])
    size = sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file())
    print(f"{len(specs)} cards, {size} bytes in {SAMPLE}")


def sides(spec: CardSpec) -> dict[str, CardSpec]:
    """What is drawn for a card, by the name of its file."""
    front = {f"{spec.card_id}.webp": spec}
    return front | ({f"{spec.card_id}-back.webp": spec.back} if spec.back else {})


def _write_table(path: Path, specs: list[CardSpec]) -> None:
    rows = [_row(spec) for spec in specs]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _row(spec: CardSpec) -> dict[str, str]:
    image, *back = sides(spec)
    return {
        "id": spec.card_id,
        "name": " // ".join(side.name for side in sides(spec).values()),
        "image": image,
        "image_back": "".join(back),
        "set": spec.set_code,
        "set_name": f"Sample set {spec.set_code.upper()}",
        "collector_number": spec.collector_number,
        "illustration": spec.illustration,
        "layout": LAYOUTS[spec.back is not None],
        "type": spec.type_line,
        "artist": spec.artist,
    }


def _items(spec: CardSpec) -> Iterable[ItemFeatures]:
    """Features of each side, of the picture that is written for it."""
    for number, (name, side) in enumerate(sides(spec).items()):
        bgr = cv2.cvtColor(draw_card(side), cv2.COLOR_RGB2BGR)
        picture = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes()
        (SAMPLE / name).write_bytes(picture)
        art = f"{spec.illustration}#{number}" if number else spec.illustration
        item = ItemId(CardId(spec.card_id), number)
        yield ItemFeatures(item, SiftCardEngines().extract(picture), art)


def _build(folder: Path, items: list[ItemFeatures]) -> None:
    SiftCardEngines().build(Gathered((), tuple(items)), folder, version=VERSION)
    write_contents(folder, [each.item for each in items])


if __name__ == "__main__":
    main()
