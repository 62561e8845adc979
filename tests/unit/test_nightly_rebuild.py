"""A rebuild of the index, over ports in memory and an engine that reads numbers."""

import asyncio
import os
from datetime import UTC, datetime, timedelta

import pytest

from omma.domain.cards import Correction, ItemId
from omma.domain.errors import (
    BlobNotFound,
    InvalidInput,
    LeaseExpired,
    RebuildRunning,
    SnapshotRefused,
    SourceCorrupt,
    SourceFault,
    SourceUnavailable,
    StoreUnavailable,
    UndecodableImage,
    UrlTimeout,
)
from omma.domain.indexes import SnapshotState, Stage
from omma.services import retention
from omma.services.farming import LocalFarm
from omma.services.indexes import LEASE
from omma.services.verdicts import GateRules
from tests.rebuild_fakes import House, card, picture


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


async def test_a_first_rebuild_publishes_every_card(house):
    report = await house.rebuild()

    engine = await house.engine()
    assert report.is_published
    assert (report.cards, report.faces, report.fetched, report.failed_count) == (10, 10, 10, 0)
    assert set(engine.items.values()) == {ItemId(f"c{n:03}") for n in range(10)}


async def test_its_stages_are_told_in_order_with_their_counts(house):
    await house.rebuild()

    stages = list(dict.fromkeys(progress.stage for progress in house.told))
    features = [each for each in house.told if each.stage is Stage.FEATURES]
    assert stages == list(Stage)
    assert (features[0].done, features[0].total, features[-1].done) == (0, 10, 10)


async def test_nothing_new_ends_early(house):
    first = await house.rebuild()

    second = await house.rebuild()

    assert (second.version, second.is_published, second.fetched) == ("", False, 0)
    assert house.source.asked == []
    assert await house.published() == first.version


async def test_a_rebuild_reads_once_what_there_are_features_of(house, monkeypatch):
    read, shards = [], house.ledger.shards
    monkeypatch.setattr(house.ledger, "shards", lambda key: read.append(key) or shards(key))

    for times in (1, 2):
        await house.rebuild(force=True)
        assert len(read) == times


async def test_nothing_new_is_rebuilt_by_force(house):
    first = await house.rebuild()

    second = await house.rebuild(force=True)

    assert second.is_published
    assert second.version > first.version


async def test_only_what_is_new_or_changed_is_fetched(house):
    await house.rebuild()
    house.source.there[3] = card(3, key="2")
    house.source.there.append(card(77))

    report = await house.rebuild()

    canaries = {*map(str, range(10)), "77"}  # of what is new, too
    assert report.fetched == 2
    assert house.source.asked[:2] == ["3", "77"]
    assert set(house.source.asked[2:]) <= canaries
    assert report.is_published


async def test_a_card_that_is_gone_leaves_the_index(house):
    house.rules = GateRules(canaries=20, max_loss=0.1)
    house.options["max_loss"] = 0.1
    await house.rebuild()
    del house.source.there[0]

    report = await house.rebuild()

    assert (report.removed, report.is_published) == (1, True)
    assert ItemId("c000") not in (await house.engine()).items.values()


async def test_a_picture_that_fails_is_told_and_costs_no_other(house):
    house.source.faults = {"4": UrlTimeout("too slow")}
    house.source.pictures = {"5": b"garbage"}

    report = await house.rebuild()

    assert report.is_published
    assert dict(report.failed) == {
        ItemId("c004"): "url_timeout: too slow",
        ItemId("c005"): "undecodable_image: no picture",
    }


async def test_it_is_tried_again_every_night_unless_that_is_of_no_use(house):
    house.source.faults = {"4": UrlTimeout("too slow"), "5": UndecodableImage("no picture")}
    asked = []

    for _ in range(4):
        await house.rebuild()
        asked.append(sorted(each for each in house.source.asked if each in {"4", "5"}))

    assert asked == [["4", "5"], ["4"], ["4"], []]


@pytest.mark.parametrize("error", [SourceFault("status 503", 60), UrlTimeout("too slow")])
async def test_a_source_that_goes_away_leaves_what_was_done_and_costs_no_tries(house, error):
    await house.rebuild()
    house.source.there += [card(11), card(12)]
    house.source.away = error

    for _ in range(4):
        with pytest.raises(SourceUnavailable, match="did not give 2 pictures"):
            await house.rebuild()
    house.source.away = None
    report = await house.rebuild()

    assert (report.fetched, report.is_published, report.failed) == (2, True, ())


async def test_one_picture_that_is_refused_for_ever_keeps_no_rebuild_from_its_end(house):
    house.source.faults = {"9": SourceUnavailable("status 429", 900)}
    nights = [await house.rebuild() for _ in range(5)]
    house.source.faults = {}

    report = await house.rebuild()

    assert [night.is_published for night in nights] == [True, False, False, False, False]
    assert dict(nights[-1].failed) == {ItemId("c009"): "source_unavailable: status 429"}
    assert (report.is_published, report.fetched) == (True, 1)


async def test_pictures_that_fail_for_ever_are_alone_with_that_however_many_they_are(tmp_path):
    house = House(tmp_path, cards=40, shard_items=40)
    lost = [str(number) for number in range(8, 40, 2)]
    house.source.faults = {url: SourceFault("status 503", 60) for url in lost}

    nights = [await house.rebuild() for _ in range(3)]

    assert nights[0].is_published
    assert [night.failed_count for night in nights] == [16, 16, 16]
    assert sorted(set(house.source.asked) - set(lost)) == ["0", "1", "2"]  # whether it is there


async def test_a_first_rebuild_that_begins_with_what_fails_goes_on_behind_it(tmp_path):
    house = House(tmp_path, cards=40, shard_items=40)
    house.source.faults = {str(number): SourceFault("status 503", 60) for number in range(12)}

    with pytest.raises(SourceUnavailable):
        await house.rebuild()
    report = await house.rebuild()

    assert (report.is_published, report.failed_count) == (True, 12)


async def test_a_source_that_breaks_off_removes_nothing(house):
    await house.rebuild()
    house.source.fault = SourceCorrupt("the file ends in the middle")

    with pytest.raises(SourceCorrupt):
        await house.rebuild()

    assert await house.cards.count() == (10, 10)


async def test_a_source_that_lost_half_of_its_cards_is_not_believed(house):
    first = await house.rebuild()
    del house.source.there[5:]

    with pytest.raises(SnapshotRefused, match="5 cards where 10 are known"):
        await house.rebuild()

    assert await house.cards.count() == (10, 10)
    assert await house.published() == first.version
    assert len(house.refused) == 1


async def test_another_source_may_have_other_cards(house):
    await house.rebuild()
    house.source.there = [card(number) for number in range(100, 104)]
    house.source.name = "another"

    report = await house.rebuild()

    assert (report.is_published, report.removed) == (True, 10)


async def test_shuffled_ids_are_refused_and_the_old_snapshot_stays(house):
    first = await house.rebuild()
    house.engines.spoil = lambda rows: [
        [number, rows[(index + 1) % len(rows)][1], face]
        for index, (number, _, face) in enumerate(rows)
    ]

    report = await house.rebuild(force=True)

    listed = {each.version: each for each in await house.snapshots.listed("cards")}
    refused = listed[report.version]
    assert not report.is_published
    assert "it knew 0 of 20 canaries" in report.verdict.reasons[0]
    assert refused.state is SnapshotState.REFUSED
    assert refused.report["verdict"]["reasons"] == list(report.verdict.reasons)
    assert await house.published() == first.version
    assert len(house.refused) == 1


async def test_an_index_that_lacks_half_the_cards_is_refused(house):
    first = await house.rebuild()
    house.engines.spoil = lambda rows: rows[::2]

    report = await house.rebuild(force=True)

    assert not report.is_published
    assert await house.published() == first.version


async def test_a_first_snapshot_that_knows_nothing_is_refused(house):
    house.engines.spoil = lambda rows: [[number + 500, *rest] for number, *rest in rows]

    report = await house.rebuild()

    assert not report.is_published
    assert await house.published() is None


async def test_a_source_that_exchanged_its_pictures_is_refused(house):
    first = await house.rebuild()
    house.source.there = [card(number, key="2") for number in range(10)]
    house.source.pictures = {str(number): picture((number + 1) % 10) for number in range(10)}

    report = await house.rebuild()

    assert not report.is_published
    assert "may have exchanged" in " ".join(report.verdict.reasons)
    assert await house.published() == first.version


@pytest.mark.parametrize("stage", [each for each in Stage if each is not Stage.WAITING])
async def test_one_that_was_broken_off_at_a_stage_is_completed_by_the_next(house, stage):
    async def break_off(progress):
        if progress.stage is stage and (progress.done or not progress.total):
            raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable):
        await house.rebuild(watcher=break_off)

    report = await house.rebuild()

    listed = await house.snapshots.listed("cards")
    assert report.is_published
    assert (await house.engine()).stats.items == 10
    assert [each.version for each in listed] == await house.files.stored("cards")
    assert report.fetched == {Stage.RECORDS: 10, Stage.FEATURES: 6}.get(stage, 0)


async def test_what_was_built_and_not_judged_is_not_built_again(house):
    async def break_off(progress):
        if progress.stage is Stage.JUDGEMENT:
            raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable):
        await house.rebuild(watcher=break_off)
    [built] = await house.snapshots.listed("cards")

    report = await house.rebuild()

    assert report.version == built.version


async def test_files_that_no_record_names_are_removed(house):
    await house.blobs.put("indexes/cards/20250101T000000Z-0/fake.json", b"half")
    await house.blobs.put("features/cards/orphan.h5", b"orphan")
    house.now = house.now.replace(year=2036)  # years after they were put

    await house.rebuild()

    assert len(await house.files.stored("cards")) == 1
    assert "features/cards/orphan.h5" not in await house.stored_shards()


async def test_files_that_somebody_may_be_about_to_name_are_left(house):
    await house.blobs.put("features/cards/another.h5", b"another's")
    house.now = house.now.replace(year=2020)  # before it was put

    await house.rebuild()

    assert "features/cards/another.h5" in await house.stored_shards()


async def test_shards_that_no_face_needs_any_more_are_removed(house):
    await house.rebuild()
    before = await house.stored_shards()
    house.source.there = [card(number, key="2") for number in range(10)]
    house.now = house.now.replace(year=2036)

    await house.rebuild()

    assert not set(before) & set(await house.stored_shards())


async def test_a_shard_that_was_lost_is_made_anew(house):
    await house.rebuild()
    lost = (await house.stored_shards())[0]
    await house.blobs.delete([lost])

    report = await house.rebuild()

    assert (report.fetched, report.is_published) == (4, True)
    assert (await house.engine()).stats.items == 10


async def test_a_lost_shard_with_a_picture_that_is_gone_breaks_no_later_rebuild(house):
    house.rules = GateRules(canaries=20, max_loss=0.1)
    await house.rebuild()
    await house.blobs.delete([(await house.stored_shards())[0]])
    house.source.faults = {"0": UrlTimeout("too slow")}

    first, second = await house.rebuild(), await house.rebuild()

    assert first.is_published, first.verdict
    assert (second.version, second.fetched) == ("", 1)  # tried again, as every failure
    assert (await house.engine()).stats.items == 9


async def test_a_shard_that_is_lost_before_assembly_is_told_as_what_it_is(house):
    assemble = LocalFarm.assemble

    class LosingFarm(LocalFarm):
        async def assemble(self, task):
            await house.blobs.delete([task.shards[0][0]])
            return await assemble(self, task)

    house.farm = LosingFarm(house.hands())

    with pytest.raises(BlobNotFound):
        await house.rebuild()


async def test_what_was_refused_takes_no_place_of_what_can_be_rolled_back_to(house):
    house.options["keep"] = 2
    good = [(await house.rebuild(force=True)).version for _ in range(3)]
    house.engines.spoil = lambda rows: [[number + 500, *rest] for number, *rest in rows]

    refused = [(await house.rebuild(force=True)).version for _ in range(4)]

    listed = {each.version for each in await house.snapshots.listed("cards")}
    assert listed == {*good, *refused[-2:]}


async def test_a_published_snapshot_whose_files_are_lost_is_made_again(house):
    first = await house.rebuild()
    await house.files.delete("cards", first.version)

    second = await house.rebuild()

    assert second.is_published
    assert second.version > first.version
    assert (second.fetched, (await house.engine()).stats.items) == (0, 10)


async def test_an_index_of_another_form_is_made_again_of_the_same_features(house):
    await house.rebuild()
    house.engines.index_form = "2"

    second, third = await house.rebuild(), await house.rebuild()

    assert (second.is_published, second.fetched) == (True, 0)
    assert third.version == ""


async def test_folders_of_imports_and_tasks_that_were_killed_are_removed(house):
    work = house.folder / "work"
    folders = [work / name for name in ("import-a", "shard-old", "shard-new")]
    for folder in folders:
        (folder / "deep").mkdir(parents=True)
    os.utime(folders[1], (0, 0))

    await house.rebuild()

    assert [folder.exists() for folder in folders] == [False, False, True]
    assert not list(work.glob("shard-*.h5"))


async def test_corrections_that_no_gate_asks_any_more_go_with_their_images(house, monkeypatch):
    monkeypatch.setattr(retention, "MOST_CORRECTIONS", 2)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(4):
        path = f"corrections/{number}/image"
        await house.blobs.put(path, picture(number))
        later = at + timedelta(minutes=number)
        await house.corrections.add(Correction(str(number), None, None, path, "me", later))

    await house.rebuild()

    assert sorted(house.corrections.added) == ["2", "3"]
    stored = {each.path async for some in house.blobs.list("corrections") for each in some}
    assert stored == {"corrections/2/image", "corrections/3/image"}


async def test_bad_nights_of_the_servers_are_no_tries_of_a_picture(house):
    house.source.faults = {"4": SourceFault("status 500", 60)}
    nights = [await house.rebuild() for _ in range(5)]
    house.source.faults = {}

    report = await house.rebuild()

    assert nights[0].is_published
    assert dict(nights[-1].failed) == {ItemId("c004"): "source_fault: status 500"}
    assert (report.is_published, report.fetched) == (True, 1)


async def test_a_source_that_fails_over_every_picture_is_asked_for_few(tmp_path):
    house = House(tmp_path, cards=40, shard_items=40)
    house.source.faults = {str(number): SourceFault("status 500", 60) for number in range(40)}

    with pytest.raises(SourceUnavailable):
        await house.rebuild()

    assert len(house.source.asked) < 20


async def test_old_snapshots_go_but_for_those_that_are_served(house):
    house.options["keep"] = 1
    first = await house.rebuild()
    await house.servings.report("cards", "replica-1", first.version, ttl_s=60)

    versions = [(await house.rebuild(force=True)).version for _ in range(3)]

    listed = {each.version for each in await house.snapshots.listed("cards")}
    assert listed == {first.version, *versions[1:]}
    assert set(await house.files.stored("cards")) == listed


async def test_what_was_rolled_back_from_is_not_published_again(house):
    first = await house.rebuild()
    house.source.there.append(card(11))
    second = await house.rebuild()
    await house.snapshots.publish("cards", first.version)

    third = await house.rebuild()

    assert second.is_published
    assert third.version == ""
    assert await house.published() == first.version


async def test_who_comes_second_is_told_who_has_the_lock(house):
    await house.leases.acquire(LEASE, "node-b#1", ttl_s=60)

    with pytest.raises(RebuildRunning, match="'node-b'"):
        await house.rebuild()


async def test_a_holder_that_was_killed_takes_over_from_itself(house):
    await house.leases.acquire(LEASE, "node-a#1", ttl_s=60)

    report = await house.rebuild()

    assert report.is_published


async def test_a_former_run_of_the_same_holder_stops(house):
    house.options["lease_s"] = 0.05
    has_begun = asyncio.Event()

    async def hang(_progress):
        if await house.leases.holder(LEASE):
            has_begun.set()
            await asyncio.Event().wait()

    former = asyncio.create_task(house.rebuild(watcher=hang))
    await has_begun.wait()

    report = await house.rebuild()

    assert report.is_published
    with pytest.raises(LeaseExpired):
        await former


async def test_the_lock_is_free_after_a_rebuild_that_failed(house):
    house.source.fault = SourceCorrupt("no")
    with pytest.raises(SourceCorrupt):
        await house.rebuild()

    assert await house.leases.holder(LEASE) is None


async def test_who_loses_the_lock_stops_at_once(house):
    house.options["lease_s"] = 0.03
    stopped = asyncio.Event()

    async def lose(progress):
        if progress.stage is Stage.FEATURES:
            house.leases.all.rights[LEASE] = ("another", house.leases.all.now_ms + 60_000)
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

    with pytest.raises(LeaseExpired):
        await house.rebuild(watcher=lose)

    assert stopped.is_set()
    assert await house.leases.holder(LEASE) == "another"


async def test_a_plan_says_what_is_left_to_do(house):
    before = await house.index().plan()
    await house.rebuild()
    house.source.there += [card(11), card(12)]

    after = await house.index().plan()

    assert (before.new_images, before.download_bytes, before.hours) == (10, 10_000, 1.0)
    assert (after.new_images, after.download_bytes) == (2, round(12_000 / 6))
    assert after.hours == pytest.approx(1 / 6)


async def test_nothing_is_rebuilt_while_no_source_is_chosen(house):
    house.source = None

    with pytest.raises(InvalidInput, match="OMMA_CARDS__SOURCE__TYPE"):
        await house.index().run(house.tell, holder="a")
