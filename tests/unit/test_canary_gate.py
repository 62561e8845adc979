"""The gate with the real engine and drawn cards, and its sentences."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from omma.domain.cards import Correction, ItemId
from omma.domain.errors import SourceUnavailable, StoreUnavailable, UrlTimeout
from omma.domain.indexes import Score
from omma.engines.cards import SiftCardEngines
from omma.services.canaries import moderate
from omma.services.verdicts import (
    GateRules,
    Judged,
    Marked,
    Marks,
    verdict_of,
    verdict_report,
)
from omma.stores.cards.folder import FolderSource
from omma.stores.cards.sample import SAMPLE
from omma.stores.shards import ShardedFeatures, write_shard
from omma.stores.snapshots import BlobSnapshotFiles
from tests.rebuild_fakes import FakeEngine, House, card, picture

GOOD = Score(queries=200, right=198, false=0, p50_ms=20.0, p95_ms=30.0)
EVEN = Judged(
    candidate=Marked(GOOD, Marks(150, 148), Marks(50, 50), Marks()),
    running=Marked(GOOD, Marks(150, 148), Marks(), Marks()),
    items=1000, running_items=1000, lost=0, is_same_source=True,
)  # fmt: skip
RULES = GateRules()


class Shuffled:
    """FeatureReader that names every item as the next one is named."""

    def __init__(self, shards):
        self.items = list(ShardedFeatures(shards).read())

    def __len__(self):
        return len(self.items)

    def read(self):
        names = [each.item for each in self.items]
        for each, name in zip(self.items, [*names[1:], names[0]], strict=True):
            yield replace(each, item=name)


class Halved(Shuffled):
    """FeatureReader of every other item."""

    def __init__(self, shards):
        super().__init__(shards)
        self.items = self.items[::2]

    def read(self):
        return iter(self.items)


@pytest.fixture
def house(tmp_path):
    return House(tmp_path, rules=GateRules(canaries=20))


@pytest.fixture
def real(tmp_path):
    """With drawn cards, seen by the real engine."""
    house = House(tmp_path, rules=GateRules(canaries=4))
    house.source = FewCards(4)
    house.engines = SiftCardEngines()
    house.shards = write_shard, ShardedFeatures
    house.photograph = moderate
    return house


class FewCards(FolderSource):
    """The first cards of the sample."""

    def __init__(self, count):
        super().__init__(SAMPLE, max_image_bytes=1_000_000, name="sample")
        self._count = count
        self.asked = []  # as a house empties it

    async def cards(self, work):
        async for some in super().cards(work):
            yield some[: self._count]


async def correct(house, number, item, image, owner="me"):
    """Somebody says that ``image`` shows ``item``; a higher number says it later."""
    path = f"corrections/{number}.png"
    await house.blobs.put(path, image)
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    await house.corrections.add(Correction(f"{number:05}", item, None, path, owner, at))


@pytest.mark.drill
async def test_a_good_index_of_drawn_cards_is_accepted(real):
    report = await real.rebuild()

    assert report.is_published, report.verdict
    assert report.verdict.candidate.accuracy >= 0.9


@pytest.mark.drill
@pytest.mark.parametrize("poison", [Shuffled, Halved])
async def test_a_poisoned_index_of_drawn_cards_is_refused(real, poison):
    first = await real.rebuild()
    real.shards = write_shard, poison

    report = await real.rebuild(force=True)

    assert not report.is_published, report.verdict
    assert report.verdict.running.accuracy > report.verdict.candidate.accuracy
    assert await real.published() == first.version


async def test_another_printing_of_the_same_art_is_right_only_where_it_is_not_certain(house):
    house.source.there = [
        replace(card, faces=tuple(replace(face, illustration="art") for face in card.faces))
        for card in house.source.there[:2]
    ]
    printings = (ItemId("c000"), ItemId("c001"))
    verdicts = []

    for uncertain in ({}, {0: printings, 1: printings}):
        house.engines.open = lambda _folder, *, version, uncertain=uncertain: FakeEngine(
            {0: ItemId("c001"), 1: ItemId("c000")}, version, uncertain
        )
        verdicts.append((await house.rebuild(force=True)).verdict)

    assert [verdict.candidate.accuracy for verdict in verdicts] == [0.0, 1.0]


async def test_corrections_are_asked_too_and_cannot_hold_up_a_first_snapshot(house):
    for number, item in enumerate([ItemId("c003"), None, ItemId("gone")]):
        await correct(house, number, item, picture(4 + number))

    report = await house.rebuild()

    score = report.verdict.candidate
    assert report.is_published
    assert (score.queries, score.right, score.false) == (22, 20, 2)


async def test_that_a_card_was_unknown_once_does_not_speak_against_knowing_it(house):
    await house.rebuild()
    for number in range(20, 32):
        await correct(house, number, None, picture(number), f"user-{number}")
    house.source.there += [card(number) for number in range(20, 32)]

    report = await house.rebuild()

    assert report.is_published, report.verdict
    assert report.verdict.candidate.false == 0


async def test_corrections_of_many_do_not_look_like_an_exchange_in_the_source(house):
    await house.rebuild()
    for number in range(40):
        image = cv2.imencode(".png", np.full((4, 5 + number, 3), [99, 0, number % 10], np.uint8))[1]
        await correct(house, number, None, image.tobytes(), f"user-{number}")

    report = await house.rebuild(force=True)

    assert report.is_published, report.verdict
    assert report.verdict.running.false == 40


async def test_of_one_person_and_of_one_image_only_few_corrections_are_asked(house):
    for number in range(20):
        await correct(house, number, ItemId("c003"), picture(100 + number))
    for number in range(20, 24):
        await correct(house, number, ItemId("c003"), picture(99), f"user-{number}")

    report = await house.rebuild()

    assert report.verdict.candidate.queries == 20 + 5 + 1


async def test_what_is_new_is_looked_at_though_all_the_old_is_right(house):
    first = await house.rebuild()
    house.source.there += [card(number) for number in range(20, 40)]
    house.engines.spoil = lambda rows: [
        [number if number < 20 else 59 - number, *rest] for number, *rest in rows
    ]

    report = await house.rebuild()

    assert not report.is_published
    assert "it knew 0 of 5 canaries that are new in it" in " ".join(report.verdict.reasons)
    assert (report.verdict.running.queries, report.verdict.candidate.queries) == (15, 20)
    assert await house.published() == first.version


async def test_copies_of_older_snapshots_leave_the_machine_that_judges(house, tmp_path):
    house.files = BlobSnapshotFiles(house.blobs, tmp_path / "cache", spared_s=0)

    versions = [(await house.rebuild(force=True)).version for _ in range(4)]

    there = {each.name for each in (tmp_path / "cache" / "cards").iterdir()}
    assert there == set(versions[-2:])


async def test_that_copies_cannot_be_removed_changes_no_verdict(house):
    async def refuse(_name, _keep):
        raise StoreUnavailable("read-only", 5)

    house.files.evict = refuse

    assert (await house.rebuild()).is_published


async def test_a_correction_whose_image_cannot_be_read_is_passed_over(house):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    await house.corrections.add(Correction("1", ItemId("c003"), None, "gone.png", "me", at))

    report = await house.rebuild()

    assert report.verdict.candidate.queries == 20


async def test_without_pictures_nothing_is_judged(house):
    await house.rebuild()
    house.source.faults = {str(number): UrlTimeout("slow") for number in range(10)}

    with pytest.raises(SourceUnavailable, match="of 20 pictures"):
        await house.rebuild(force=True)


async def test_a_candidate_that_cannot_be_opened_is_refused(house):
    await house.rebuild()
    build = house.engines.build

    def broken(items, folder, *, version):
        stats = build(items, folder, version=version)
        (folder / "fake.json").write_text("{")
        return stats

    house.engines.build = broken

    report = await house.rebuild(force=True)

    assert "cannot be opened" in report.verdict.reasons[0]
    assert not report.is_published


async def test_a_published_snapshot_that_cannot_be_opened_holds_up_nobody(house, tmp_path):
    first = await house.rebuild()
    await house.files.delete("cards", first.version)
    house.files = BlobSnapshotFiles(house.blobs, tmp_path / "another cache")

    report = await house.rebuild(force=True)

    assert report.is_published


def marked(candidate=None, running=None):
    """`EVEN` with other marks, by their kinds."""
    return {
        "candidate": replace(EVEN.candidate, **(candidate or {})),
        "running": replace(EVEN.running, **(running or {})),
    }


def test_what_is_no_worse_is_accepted():
    verdict = verdict_of(EVEN, RULES, notes=("a note",))

    assert verdict.is_accepted
    assert verdict.reasons == (
        "it knew 198 of 200 canaries, the running snapshot 198 of 200",
        "a note",
    )


DROP = "its accuracy is 97.3%, that of the running snapshot 98.7%, and it may fall by 1.0%"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"running": None} | {"candidate": replace(EVEN.candidate, known=Marks(150, 129))},
            "it knew 179 of 200 canaries, expected at least 90.0%",
        ),
        (
            marked({"new": Marks(50, 42)}),
            "it knew 42 of 50 canaries that are new in it, expected at least 90.0% less 2",
        ),
        (marked({"known": Marks(150, 146)}), DROP),
        (
            marked({"corrected": Marks(20, 14)}, {"corrected": Marks(20, 19)}),
            (
                "it answers 14 of 20 corrections rightly, the running snapshot 19,"
                " and it may fall by 4"
            ),
        ),
        (
            marked({"score": replace(GOOD, p50_ms=40.1)}),
            (
                "its median query takes 40 ms, expected at most 40 ms beside 20 ms of the running"
                " snapshot"
            ),
        ),
        (
            {"lost": 51},
            "it lacks 51 of the 1000 items of the running snapshot, expected at most 5.0%",
        ),
        ({"items": 0}, "the new snapshot holds no items"),
        (
            marked({}, {"known": Marks(150, 75, false=75)}),
            (
                "the running snapshot sees other cards than the source in 75 of 150 pictures:"
                " the source may have exchanged pictures or ids"
            ),
        ),
    ],
)
def test_what_is_worse_is_refused_with_the_reason(change, reason):
    verdict = verdict_of(replace(EVEN, **change), RULES)

    assert not verdict.is_accepted
    assert verdict.reasons == (reason,)


@pytest.mark.parametrize(
    "change",
    [
        marked({"known": Marks(150, 134), "new": Marks(50, 46)}, {"known": Marks(150, 135)}),
        marked({"known": Marks(150, 147)}),
        marked({"new": Marks(2, 0)}),
        marked({"new": Marks(50, 43)}),
        marked({"corrected": Marks(200, 0)}, {"corrected": Marks(200, 0, false=200)}),
        marked({"corrected": Marks(3, 0)}, {"corrected": Marks(3, 3)}),
        marked({"score": replace(GOOD, p50_ms=40.0)}),
        marked({"score": replace(GOOD, p50_ms=400.0)}) | {"is_same_source": False},
        {"lost": 50},
        {"lost": 1000, "is_same_source": False},
        {"running": None},
    ],
)
def test_what_is_just_good_enough_is_accepted(change):
    assert verdict_of(replace(EVEN, **change), RULES).is_accepted


def test_without_canaries_nothing_is_accepted():
    nothing = Marked(Score(0, 0, 0, 0.0, 0.0), Marks(), Marks(), Marks())

    verdict = verdict_of(replace(EVEN, candidate=nothing, running=None), RULES)

    assert not verdict.is_accepted


def test_a_verdict_is_kept_with_its_figures():
    kept = verdict_report(verdict_of(EVEN, RULES))

    assert kept["is_accepted"] is True
    assert kept["candidate"]["accuracy"] == 0.99
    assert kept["running"]["p50_ms"] == 20.0
