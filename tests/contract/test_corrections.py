"""What is kept of what humans said."""

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


async def test_the_same_id_again_changes_nothing(stores):
    await stores.corrections.add(correction("a"))
    await stores.corrections.add(correction("a", item=ItemId(CardId("opt"))))

    assert await stores.corrections.recent(limit=10) == [correction("a")]
