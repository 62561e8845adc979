"""What is kept of what humans said."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from omma.domain.cards import CardId, Correction, ItemId

AT = datetime(2026, 1, 1, tzinfo=UTC)


def correction(name, minutes=0, item=None, claimed=None):
    at = AT + timedelta(minutes=minutes)
    return Correction(name, item, claimed, f"corrections/{name}.jpg", "ada", at)


async def test_a_correction_is_read_as_it_was_said(stores):
    said = correction("1", item=ItemId(CardId("opt"), 1), claimed=ItemId(CardId("ponder")))
    no_card = correction("2")

    await stores.corrections.add(said)
    await stores.corrections.add(no_card)

    assert await stores.corrections.recent(limit=10) == [said, no_card]


async def test_the_newest_come_first(stores):
    for name, minutes in (("a", 1), ("b", 3), ("c", 2)):
        await stores.corrections.add(correction(name, minutes))

    found = await stores.corrections.recent(limit=2)

    assert [each.correction_id for each in found] == ["b", "c"]


async def test_older_ones_are_read_behind_the_newest(stores):
    for name, minutes in (("a", 1), ("b", 3), ("c", 2)):
        await stores.corrections.add(correction(name, minutes))

    found = await stores.corrections.recent(limit=1, skip=1)

    assert [each.correction_id for each in found] == ["c"]


async def test_what_is_removed_is_forgotten_and_only_that(stores):
    for name in ("a", "b", "c"):
        await stores.corrections.add(correction(name))

    await stores.corrections.remove(["a", "c", "never there"])
    await stores.corrections.remove([])

    assert await stores.corrections.recent(limit=9) == [correction("b")]


async def test_those_of_one_owner_are_counted_for_a_while(stores):
    start = datetime.fromtimestamp(1_700_000_000, UTC)  # where the clocks of tests begin
    for name, seconds in (("a", 0), ("b", 60)):
        at = start + timedelta(seconds=seconds)
        await stores.corrections.add(replace(correction(name), created_at=at))
    stores.advance(60)

    asked = [("ada", 61), ("ada", 30), ("eve", 61), ("\0", 61)]
    counts = [await stores.corrections.count(owner, within_s=within) for owner, within in asked]

    assert counts == [2, 1, 0, 0]


async def test_the_same_id_again_changes_nothing(stores):
    await stores.corrections.add(correction("a"))
    await stores.corrections.add(correction("a", item=ItemId(CardId("opt"))))

    assert await stores.corrections.recent(limit=10) == [correction("a")]
