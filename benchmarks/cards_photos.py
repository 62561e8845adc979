"""Photographs of cards on tables, among very many cards: `python -m benchmarks.cards_photos`.

One crop of each card, brought upright by hand, is indexed among drawn and real cards; then none of
them is. What was found is drawn into pictures, for a look. Wants the folder of OMMA_EVAL_DATA.
"""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import faiss
import numpy as np

from benchmarks.cards_corpus import corpus_parser, draw_all
from benchmarks.cards_features import PER_SHARD, Gathered, Shards, make_all, real_cards
from benchmarks.report import RESULTS, report
from omma.domain.cards import CardId, CardMatch, ItemFeatures, ItemId, RecogniseOptions
from omma.engines.cards import SiftCardEngines
from omma.ports.cards import CardEngine
from tests.golden.test_card_photos import PHOTOS, png, rectified, same

VERSION = "bench"
GREEN, MAGENTA = (0, 255, 0), (255, 0, 255)


def main() -> None:
    """Draw, look, build twice, ask, report."""
    parser = corpus_parser(__doc__)
    args, _ = parser.parse_known_args()
    data = Path(os.environ.get("OMMA_EVAL_DATA", "none"))
    if not (data / "cards/photos").is_dir():
        parser.error("expected OMMA_EVAL_DATA to name a folder with cards/photos")
    cards = args.cards // PER_SHARD * PER_SHARD
    draw_all(args.work, cards, args.processes)
    make_all(args.work, cards, args.processes, both=False)
    cv2.setNumThreads(1)
    faiss.omp_set_num_threads(1)
    engines, shards = SiftCardEngines(), Shards(args.work)
    paths = tuple(shards.ours(first) for first in range(0, cards, PER_SHARD))
    photos = {name: _read(data / "cards/photos" / name) for name in PHOTOS}
    real = [_item(engines, name, image) for name, image in real_cards(data).items()]
    crops = [_item(engines, f"photo {name}", image) for name, image in _crops(photos).items()]
    having = _opened(engines, args.work / "index-photos", Gathered(paths, (*real, *crops)))
    lacking = _opened(engines, args.work / "index-no-photos", Gathered(paths, tuple(real)))
    rows = [_row(name, photo, having, lacking) for name, photo in photos.items()]
    report("cards-photos", f"Cards on tables, among {cards}", rows)


def _row(
    name: str, photo: np.ndarray, having: CardEngine, lacking: CardEngine
) -> dict[str, object]:
    begun = time.process_time()
    found = _ask(having, photo)
    asked = time.process_time()
    claimed = _ask(lacking, photo)
    ended = time.process_time()
    _draw(RESULTS / f"cards-photos-{Path(name).stem}.png", photo, found)
    shown = [(f"photo {card['name']}", card["outline"]) for card in PHOTOS[name]]
    seen = [(match.item.card_id, match.outline) for match in found]
    return {
        "what": name,
        "cards": len(shown),
        "found": sum(any(same(card, each) for each in seen) for card in shown),
        "invented": sum(not any(same(card, each) for card in shown) for each in seen),
        "claimed when none is indexed": len(claimed),
        "cpu_s": asked - begun,
        "cpu_s when none is indexed": ended - asked,
    }


def _ask(engine: CardEngine, photo: np.ndarray) -> tuple[CardMatch, ...]:
    [recognition] = engine.recognise([photo], RecogniseOptions(max_cards=60))
    return recognition.matches


def _crops(photos: dict[str, np.ndarray]) -> dict[str, bytes]:
    """Of each card the first that any photograph shows."""
    crops: dict[str, bytes] = {}
    for photo, cards in PHOTOS.items():
        for card in cards:
            if card["name"] not in crops:
                crops[card["name"]] = png(rectified(photos[photo], card["outline"]))
    return crops


def _opened(engines: SiftCardEngines, folder: Path, reader: Gathered) -> CardEngine:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    engines.build(reader, folder, version=VERSION)
    return engines.open(folder, version=VERSION)


def _item(engines: SiftCardEngines, name: str, image: bytes) -> ItemFeatures:
    return ItemFeatures(ItemId(CardId(name)), engines.extract(image))


def _read(path: Path) -> np.ndarray:
    return cv2.cvtColor(np.asarray(cv2.imread(str(path))), cv2.COLOR_BGR2RGB)


def _draw(path: Path, photo: np.ndarray, found: Sequence[CardMatch]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn, width = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), max(2, photo.shape[1] // 400)
    for match in found:
        outline = np.asarray(match.outline, np.int32)
        cv2.polylines(drawn, [outline], isClosed=True, color=GREEN, thickness=width)
        size, place = photo.shape[1] / 1500, (int(outline[0][0]), int(outline[0][1]))
        cv2.putText(drawn, match.item.card_id, place, 0, size, MAGENTA, width)
    cv2.imwrite(str(path), drawn)


if __name__ == "__main__":
    main()
