"""The engine of cards on a handful of pictures that it draws itself."""

import itertools
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from omma.domain.cards import CardId, ItemFeatures, ItemId, RecogniseOptions
from omma.domain.errors import IndexCorrupt, InvalidInput
from omma.engines.cards import SiftCardEngines
from omma.engines.cards.engine import SiftCardEngine
from omma.engines.cards.sights import NoJudge

HEIGHT, WIDTH = 352, 252
CARDS = 12
CROP = RecogniseOptions(is_crop=True)
ENGINES = SiftCardEngines()


def draw(seed: int) -> np.ndarray:
    """A picture of polygons, circles and letters on a gradient, with a black border."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (5, 4, 3)).astype(np.uint8)
    card = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for _ in range(45):
        at = rng.integers(10, [WIDTH - 10, HEIGHT - 10])
        colour = [int(c) for c in rng.integers(0, 256, 3)]
        shape = (at + rng.integers(-28, 28, (5, 2))).astype(np.int32)
        cv2.fillPoly(card, [shape], colour)
        cv2.circle(
            card, [int(c) for c in rng.integers(20, 230, 2)], int(rng.integers(3, 12)), colour, -1
        )
    cv2.rectangle(card, (0, 0), (WIDTH - 1, HEIGHT - 1), (10, 10, 10), 9)
    return card


def encoded(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def lay(table: np.ndarray, card: np.ndarray, centre: tuple[int, int], angle: float) -> np.ndarray:
    """Put the card on the table, half a turn being 180 degrees; its outline there."""
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), -angle, 1.0)
    turn[:, 2] += np.array(centre) - [WIDTH / 2, HEIGHT / 2]
    wh = (table.shape[1], table.shape[0])
    mask = cv2.warpAffine(np.full((HEIGHT, WIDTH), 255, np.uint8), turn, wh)
    table[mask > 127] = cv2.warpAffine(card, turn, wh)[mask > 127]
    outline = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]])
    return outline @ turn[:, :2].T + turn[:, 2]


def table(height: int = 520, width: int = 520) -> np.ndarray:
    return np.full((height, width, 3), 150, np.uint8)


class Items:
    def __init__(self, seeds: Iterable[int]) -> None:
        self._items = [
            ItemFeatures(ItemId(CardId(f"card-{seed}")), ENGINES.extract(encoded(draw(seed))))
            for seed in seeds
        ]

    def __len__(self) -> int:
        return len(self._items)

    def read(self) -> Iterable[ItemFeatures]:
        return iter(self._items)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    ENGINES.build(Items(range(CARDS)), folder, version="v1")
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> SiftCardEngine:
    return ENGINES.open(folder, version="v1")


def names(engine: SiftCardEngine, image: np.ndarray, options: RecogniseOptions = CROP) -> list[str]:
    return [str(one.item.card_id) for one in engine.recognise([image], options)[0].matches]


@pytest.mark.parametrize("angle", [0, 37, 90, 180, 270, 301])
def test_a_card_is_found_at_any_angle_with_its_outline(engine: SiftCardEngine, angle: float):
    photo = table()
    truth = lay(photo, draw(3), (262, 255), angle)

    recognition = engine.recognise([photo], CROP)[0]

    assert [one.item.card_id for one in recognition.matches] == ["card-3"]
    assert np.abs(recognition.matches[0].outline - truth).max() < 6
    assert recognition.matches[0].is_printing_certain
    assert (recognition.width_px, recognition.height_px) == (520, 520)
    assert recognition.snapshot == "v1"


def test_nothing_is_claimed_where_no_indexed_card_is(engine: SiftCardEngine):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)

    for image in (draw(99), noise, table(), np.zeros((1, 1, 3), np.uint8), table(2, 900)):
        assert names(engine, image) == []


def test_two_cards_and_two_copies_are_told_apart(engine: SiftCardEngine):
    photo = table(800, 900)
    lay(photo, draw(1), (150, 200), 0)
    lay(photo, draw(1), (450, 210), 20)
    lay(photo, draw(2), (710, 220), 180)
    lay(photo, draw(98), (300, 590), 90)

    found = names(engine, photo, RecogniseOptions(max_cards=10))

    assert sorted(found) == ["card-1", "card-1", "card-2"]


def test_no_more_cards_are_told_than_asked_for(engine: SiftCardEngine):
    photo = table(420, 800)
    lay(photo, draw(1), (200, 210), 0)
    lay(photo, draw(2), (560, 210), 0)

    assert len(names(engine, photo, RecogniseOptions(max_cards=1))) == 1


def test_a_batch_answers_what_each_image_alone_is_answered(engine: SiftCardEngine):
    images = [draw(4), table(), draw(5)]

    together = engine.recognise(images, CROP)

    assert [[m.item for m in one.matches] for one in together] == [
        [m.item for m in engine.recognise([image], CROP)[0].matches] for image in images
    ]


def test_threads_get_the_same_answers(engine: SiftCardEngine):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: names(engine, draw(seed)), range(8)))

    assert found == [[f"card-{seed}"] for seed in range(8)]


def test_cards_of_one_picture_are_printings_and_none_is_certain(tmp_path: Path):
    class Twins(Items):
        def read(self) -> Iterable[ItemFeatures]:
            one = self._items[0].features
            yield from self._items
            yield ItemFeatures(ItemId(CardId("twin")), one)

        def __len__(self) -> int:
            return len(self._items) + 1

    ENGINES.build(Twins([7, 8, 9]), tmp_path, version="v1")
    match = ENGINES.open(tmp_path, version="v1").recognise([draw(7)], CROP)[0].matches[0]

    assert {one.card_id for one in match.printings} == {"card-7", "twin"}
    assert not match.is_printing_certain
    assert match.alternatives[0].is_printing


def test_an_index_of_nothing_claims_nothing(tmp_path: Path):
    stats = ENGINES.build(Items([]), tmp_path, version="v0")

    assert stats.items == 0
    assert names(ENGINES.open(tmp_path, version="v0"), draw(1)) == []


def test_the_same_items_give_the_same_files(folder: Path, tmp_path: Path):
    ENGINES.build(Items(range(CARDS)), tmp_path, version="v1")

    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.parametrize("name", ["engine.json", "codes.faiss", "owners.i32", "items.json"])
def test_a_folder_that_lost_a_file_is_refused(tmp_path: Path, name: str):
    ENGINES.build(Items([1]), tmp_path, version="v1")
    (tmp_path / name).unlink()

    with pytest.raises(IndexCorrupt):
        ENGINES.open(tmp_path, version="v1")


def test_a_folder_with_damaged_files_is_refused(tmp_path: Path):
    ENGINES.build(Items([1]), tmp_path, version="v1")
    codes = tmp_path / "codes.faiss"
    codes.write_bytes(b"\0" * codes.stat().st_size)

    with pytest.raises(IndexCorrupt):
        ENGINES.open(tmp_path, version="v1")


def test_files_of_another_form_are_refused(tmp_path: Path):
    ENGINES.build(Items([1]), tmp_path, version="v1")
    head = json.loads((tmp_path / "engine.json").read_text())
    (tmp_path / "engine.json").write_text(json.dumps(head | {"form": 999}))

    with pytest.raises(IndexCorrupt):
        ENGINES.open(tmp_path, version="v1")


def test_what_is_no_image_is_refused():
    with pytest.raises(InvalidInput):
        ENGINES.extract(b"no image")


def test_the_key_of_features_names_what_they_depend_on():
    assert SiftCardEngines(judge=NoJudge()).features_key == "sift-2-320px-200-none"


def strip(height: int, width: int) -> np.ndarray:
    """A picture of noise, which has as many extrema as a picture can have."""
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


SIDES = (1, 2, 5, 6, 40)
SHAPES = [*itertools.product(SIDES, SIDES), (1, 600), (600, 1), (6, 600)]


@pytest.mark.parametrize("asked", [CROP, RecogniseOptions(max_cards=1), RecogniseOptions()])
def test_no_card_is_seen_in_a_picture_that_is_too_small_for_one(
    engine: SiftCardEngine, asked: RecogniseOptions
) -> None:
    found = [names(engine, strip(*shape), asked) for shape in SHAPES]

    assert found == [[]] * len(SHAPES)


def test_a_picture_too_small_for_a_keypoint_has_features_of_none() -> None:
    counts = [len(ENGINES.extract(encoded(strip(*shape))).keypoints) for shape in SHAPES]

    assert counts[:2] == [0, 0]
    assert max(counts) > 0
