"""The gate with the real engine and drawn cards, and its sentences."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from omma.domain.cards import Correction, ItemId
from omma.domain.errors import SourceUnavailable, UrlTimeout
from omma.domain.indexes import Score
from omma.engines.cards import SiftCardEngines
from omma.services.judging import moderate
from omma.services.verdicts import GateRules, Judged, verdict_of, verdict_report
from omma.stores.cards.sample import SampleSource
from omma.stores.shards import ShardedFeatures, write_shard
from omma.stores.snapshots import BlobSnapshotFiles
from tests.rebuild_fakes import FakeEngine, House, picture

GOOD = Score(queries=200, right=198, false=0, p50_ms=20.0, p95_ms=30.0)
EVEN = Judged(
    candidate=GOOD, running=GOOD, drawn=200, drawn_right=198, items=1000, running_items=1000,
    lost=0, is_same_source=True,
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
    house.source = AskedSource(4)
    house.engines = SiftCardEngines()
    house.shards = write_shard, ShardedFeatures
    house.photograph = moderate
    return house


class AskedSource(SampleSource):
    """Draws each card once."""

    def __init__(self, count):
        super().__init__(count)
        self.asked = []
        self.drawn = {}

    async def image(self, face):
        if face.image_url not in self.drawn:
            self.drawn[face.image_url] = await super().image(face)
        return self.drawn[face.image_url]


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
        await house.blobs.put(f"corrections/{number}.png", picture(4))
        at = datetime(2026, 1, 1, tzinfo=UTC)
        await house.corrections.add(
            Correction(str(number), item, None, f"corrections/{number}.png", "me", at)
        )

    report = await house.rebuild()

    score = report.verdict.candidate
    assert report.is_published
    assert (score.queries, score.right, score.false) == (22, 20, 2)


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


def test_what_is_no_worse_is_accepted():
    verdict = verdict_of(EVEN, RULES, notes=("a note",))

    assert verdict.is_accepted
    assert verdict.reasons == (
        "it knew 198 of 200 canaries, the running snapshot 198",
        "a note",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"drawn_right": 179}, "it knew 179 of 200 canaries, expected at least 90.0%"),
        (
            {"candidate": replace(GOOD, right=195)},
            "its accuracy is 97.5%, that of the running snapshot 99.0%, and it may fall by 1.0%",
        ),
        (
            {"candidate": replace(GOOD, p50_ms=40.1)},
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
            {"running": replace(GOOD, right=90, false=110)},
            (
                "the running snapshot sees other cards than the source in 110 of 200 pictures:"
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
        {"drawn_right": 180},
        {"candidate": replace(GOOD, right=196)},
        {"candidate": replace(GOOD, p50_ms=40.0)},
        {"lost": 50},
        {"lost": 1000, "is_same_source": False},
        {"running": None},
    ],
)
def test_what_is_just_good_enough_is_accepted(change):
    assert verdict_of(replace(EVEN, **change), RULES).is_accepted


def test_without_canaries_nothing_is_accepted():
    nothing = Score(0, 0, 0, 0.0, 0.0)

    verdict = verdict_of(replace(EVEN, candidate=nothing, drawn=0, drawn_right=0), RULES)

    assert not verdict.is_accepted


def test_a_verdict_is_kept_with_its_figures():
    kept = verdict_report(verdict_of(EVEN, RULES))

    assert kept["is_accepted"] is True
    assert kept["candidate"]["accuracy"] == 0.99
    assert kept["running"]["p50_ms"] == 20.0
