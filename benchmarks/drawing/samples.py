"""A varied set of cards out of word lists: what a first start recognises without a network."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from benchmarks.drawing.specs import CardSpec, Frame, Rarity

T = TypeVar("T")

SETS = ("dwn", "tde", "emb", "vle", "nox")
REPRINTED = 6  # every so many cards the next one is a reprint
LETTERS = {"W": Frame.WHITE, "U": Frame.BLUE, "B": Frame.BLACK, "R": Frame.RED, "G": Frame.GREEN}

FIRST = (
    "Ember",
    "Tide",
    "Hollow",
    "Glass",
    "Thorn",
    "Cinder",
    "Moonlit",
    "Verdant",
    "Iron",
    "Silent",
    "Gilded",
    "Storm",
    "Ashen",
    "Frost",
    "Wandering",
    "Sunken",
    "Crimson",
    "Amber",
    "Veiled",
    "Star",
    "Dusk",
    "Coral",
    "Salt",
    "Winter",
)
BEINGS = (
    "Warden",
    "Seer",
    "Drake",
    "Golem",
    "Sprite",
    "Herald",
    "Stalker",
    "Archivist",
    "Oracle",
    "Wolf",
    "Giant",
    "Lantern-Bearer",
    "Cartographer",
    "Basilisk",
    "Sentinel",
    "Pilgrim",
    "Weaver",
    "Heron",
    "Duelist",
    "Colossus",
)
THINGS = (
    "Echo",
    "Harvest",
    "Reckoning",
    "Passage",
    "Bloom",
    "Verdict",
    "Eclipse",
    "Refrain",
    "Covenant",
    "Spiral",
    "Vigil",
    "Tempest",
    "Mirage",
    "Inheritance",
    "Lullaby",
)
PLACES = (
    "Vale",
    "Shore",
    "Spire",
    "Garden",
    "Archive",
    "Crossing",
    "Quarry",
    "Terrace",
    "Bastion",
    "Orchard",
    "Delta",
    "Observatory",
)
KINDS = (
    "Spirit",
    "Elemental",
    "Construct",
    "Dragon",
    "Scout",
    "Wizard",
    "Beast",
    "Knight",
    "Druid",
    "Bird",
)
ABILITIES = (
    "Whenever {name} enters, look at the top three cards of your library.",
    "At dusk, each player who controls no {kind} loses 1 life.",
    "{name} grows by one for each lantern you have lit this turn.",
    "Draw two cards, then put a card from your hand on the bottom of your library.",
    "Return target {kind} to its owner's hand. Its keeper gains 2 life.",
    "Swift, watchful",
    "Pay 3: Turn {name} sideways. Until dawn, it cannot be followed.",
    "As long as the river runs, creatures you control get +1/+1.",
    "Remove the tallest tower from the table. Its builder draws a card.",
    "You may play an additional place on each of your turns.",
    "If a storm would pass, it stays for one more turn instead.",
)
FLAVOURS = (
    '"We mapped the coast by night; by morning it had moved."',
    '"No door is as old as the key that fits it."',
    "It remembers every name it was ever called.",
    "Nobody built the bridge, and nobody has fallen from it.",
    '"Count the bells. If there are twelve, run."',
    "The tide brings back what is owed.",
)
ARTISTS = ("A. Perlin", "G. Voronoi", "B. Bezier", "L. Fourier", "M. Catmull")


def sample_specs(count: int, seed: int = 0) -> list[CardSpec]:
    """So many printings with ids that differ; some of one art, and a card with two faces."""
    rng = np.random.default_rng(seed)
    specs: list[CardSpec] = []
    for index in range(count):
        set_index = int(rng.integers(len(SETS)))
        place = (SETS[set_index], str(index + 1), 1000 * seed + set_index)
        if index % REPRINTED == REPRINTED - 1:
            original = specs[index - REPRINTED + 1]
            other = (SETS.index(original.set_code) + 1) % len(SETS)
            reprint = original.reprinted(SETS[other], place[1], 1000 * seed + other)
            specs.append(reprint)
        elif index == 1:
            back = _spec(rng, place, is_creature=True)
            front = _spec(rng, place, is_creature=True)
            specs.append(replace(front, back=back))
        else:
            specs.append(_spec(rng, place, is_creature=bool(rng.random() < 0.6)))  # noqa: PLR2004
    return specs


def _spec(rng: np.random.Generator, place: tuple[str, str, int], *, is_creature: bool) -> CardSpec:
    letters = [_one(rng, tuple(LETTERS)) for _ in range(int(rng.integers(0, 4)))]
    kind = _one(rng, KINDS)
    name, type_line = _name(rng, kind, is_creature=is_creature, is_place=not letters)
    frame = Frame.GREY if not letters else LETTERS[letters[0]]
    text = "\n".join(_one(rng, ABILITIES) for _ in range(int(rng.integers(1, 3))))
    return CardSpec(
        name=name,
        type_line=type_line,
        text=text.format(name=name, kind=kind.lower()) + "\n" + _one(rng, FLAVOURS),
        set_code=place[0],
        collector_number=place[1],
        art_seed=int(rng.integers(2**31)),
        symbol_seed=place[2],
        frame=Frame.GOLD if len(set(letters)) > 1 else frame,
        rarity=_one(rng, tuple(Rarity)),
        cost=f"{rng.integers(1, 6)}{''.join(sorted(letters))}" if letters else "",
        strength=f"{rng.integers(1, 7)}/{rng.integers(1, 7)}" if is_creature else "",
        artist=_one(rng, ARTISTS),
        is_old_style=bool(rng.random() < 0.2),  # noqa: PLR2004  every fifth
    )


def _name(
    rng: np.random.Generator, kind: str, *, is_creature: bool, is_place: bool
) -> tuple[str, str]:
    """A name, and the type line that fits it."""
    first, place = _one(rng, FIRST), _one(rng, PLACES)
    if is_creature:
        return f"{first} {_one(rng, BEINGS)} of the {place}", f"Creature - {kind}"
    if is_place:
        return f"{first} {place}", "Place"
    return f"{_one(rng, THINGS)} of {first} {place}", _one(rng, ("Sorcery", "Instant", "Charm"))


def _one(rng: np.random.Generator, words: Sequence[T]) -> T:
    return words[int(rng.integers(len(words)))]
