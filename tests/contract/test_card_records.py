"""What the records of cards promise: the last description of each, found by id and by name."""

from dataclasses import replace

import pytest

from omma.domain.cards import CardId
from omma.stores.records.names import name_key
from tests.index_records import card

OPT = card(
    "opt-1", "Opt", "a",
    set_code="xln", set_name="Ixalan", collector_number="065", layout="normal",
    finishes=("nonfoil", "foil"), prices={"usd": "0.1", "eur": None},
    image_uris={"png": "https://x/a.png"}, released_at="2017-09-29", extra={"shelf": "B"},
)  # fmt: skip
DELVER = card("delver", "Delver of Secrets // Insectile Aberration", "front", "back")


async def names(stores, text, limit=10):
    return [found.name for found in await stores.cards.search(text, limit=limit)]


async def test_a_card_is_read_as_it_was_told(stores):
    changed = await stores.cards.upsert([OPT, DELVER], seen_in="1")

    assert changed == 2
    assert await stores.cards.get({"opt-1", "delver"}) == {"opt-1": OPT, "delver": DELVER}
    assert await stores.cards.count() == (2, 3)


async def test_nothing_is_there_at_first(stores):
    assert await stores.cards.upsert([], seen_in="1") == 0
    assert await stores.cards.get(["opt-1"]) == {}
    assert await stores.cards.count() == (0, 0)


async def test_ids_that_no_card_can_have_are_none(stores):
    await stores.cards.upsert([OPT], seen_in="1")

    found = await stores.cards.get([CardId("nul\0"), CardId("half\ud800"), CardId("opt-1")])

    assert list(found) == ["opt-1"]


async def test_only_what_is_new_or_changed_counts(stores):
    await stores.cards.upsert([OPT, DELVER], seen_in="1")
    dearer = replace(OPT, prices={"usd": "5"})

    changed = await stores.cards.upsert([dearer, DELVER], seen_in="2")

    assert changed == 1
    assert await stores.cards.get(["opt-1"]) == {"opt-1": dearer}


async def test_a_card_that_comes_twice_is_what_it_was_the_second_time(stores):
    later = replace(OPT, set_name="Later")

    assert await stores.cards.upsert([OPT, later], seen_in="1") == 1
    assert await stores.cards.get(["opt-1"]) == {"opt-1": later}


async def test_faces_that_are_gone_are_forgotten(stores):
    await stores.cards.upsert([DELVER], seen_in="1")

    await stores.cards.upsert([replace(DELVER, faces=DELVER.faces[:1])], seen_in="2")

    assert await stores.cards.count() == (1, 1)


async def test_more_cards_than_one_transaction_takes_are_all_recorded(stores):
    many = [card(f"{number:04d}", "Island", "a") for number in range(1201)]

    assert await stores.cards.upsert(many, seen_in="1") == 1201
    assert await stores.cards.upsert(many, seen_in="2") == 0
    assert await stores.cards.count() == (1201, 1201)


async def test_what_a_complete_pass_has_not_seen_is_removed(stores):
    await stores.cards.upsert([OPT, DELVER], seen_in="1")
    await stores.cards.upsert([OPT], seen_in="2")

    removed = await stores.cards.remove_unseen("2")

    assert removed == 1
    assert await stores.cards.remove_unseen("2") == 0
    assert await stores.cards.get(["opt-1", "delver"]) == {"opt-1": OPT}
    assert await stores.cards.count() == (1, 1)
    assert await names(stores, "delver") == []


async def test_a_pass_that_ends_late_removes_nothing_that_a_later_one_has_seen(stores):
    """Its lease was lost meanwhile: both saw the card, the later pass before and after it."""
    await stores.cards.upsert([OPT], seen_in="2")
    await stores.cards.upsert([replace(OPT, name="Old")], seen_in="1")
    await stores.cards.upsert([DELVER], seen_in="2")

    assert await stores.cards.remove_unseen("1") == 0
    assert await stores.cards.remove_unseen("2") == 0
    assert await stores.cards.count() == (2, 3)


async def test_a_removed_card_that_is_seen_again_is_back_and_news(stores):
    await stores.cards.upsert([OPT, DELVER], seen_in="1")
    await stores.cards.upsert([OPT], seen_in="2")
    await stores.cards.remove_unseen("2")

    assert await stores.cards.upsert([OPT, DELVER], seen_in="3") == 1
    assert await stores.cards.remove_unseen("3") == 0
    assert await stores.cards.count() == (2, 3)


async def test_names_are_found_exactly_then_by_start_then_by_part(stores):
    told = ["Optimist", "Adopt", "Opt", "Co-opt", "Option", "Island", "Optics"]
    await stores.cards.upsert([card(name, name) for name in told], seen_in="1")

    assert await names(stores, "opt") == ["Opt", "Optics", "Optimist", "Option", "Adopt", "Co-opt"]
    assert await names(stores, "opt", limit=3) == ["Opt", "Optics", "Optimist"]
    assert await names(stores, "opt", limit=5) == ["Opt", "Optics", "Optimist", "Option", "Adopt"]


async def test_printings_of_one_name_come_in_order_of_their_ids(stores):
    await stores.cards.upsert([card(each, "Opt") for each in "bca"], seen_in="1")

    found = await stores.cards.search("Opt", limit=2)

    assert [each.card_id for each in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("lim-dul", "Lim-Dûl's Vault"), ("LIM-DÛL\u2019S", "Lim-Dûl's Vault"),
        ("aether", "Æther Vial"), ("jotun", "Jötun Grunt"), ("jo\u0308tun", "Jötun Grunt"),
        ("  ice ", "Fire // Ice"), ("100%", "100% Dragon"), ("under_s", "Under_Score"),
        ("dragon\0", "100% Dragon"),
    ],
)  # fmt: skip
async def test_case_accents_spaces_and_wildcards_are_no_hindrance(stores, text, name):
    told = ["Lim-Dûl's Vault", "Æther Vial", "Jötun Grunt", "Fire // Ice", "100% Dragon"]
    told += ["Under_Score", "Underscore", "1000 Dragons"]
    await stores.cards.upsert([card(each, each) for each in told], seen_in="1")

    assert (await names(stores, text))[0] == name


@pytest.mark.parametrize("text", ["", "  ", "\0", "\u0301", "nothing of the kind", "\ud800"])
async def test_what_no_name_has_finds_nothing(stores, text):
    await stores.cards.upsert([OPT], seen_in="1")

    assert await names(stores, text) == []


async def test_a_renamed_card_is_found_by_its_new_name_alone(stores):
    await stores.cards.upsert([OPT], seen_in="1")
    await stores.cards.upsert([replace(OPT, name="Ponder")], seen_in="2")

    assert await names(stores, "opt") == []
    assert await names(stores, "ponder") == ["Ponder"]


async def test_texts_that_databases_refuse_are_recorded_all_the_same(stores):
    odd = card("odd", "Nul\0 and half \ud800", "k\0", set_name="\0")

    await stores.cards.upsert([odd], seen_in="1")

    assert await stores.cards.get(["odd"]) == {"odd": odd}


def test_a_key_of_a_name_is_its_own_key():
    for name in ("İstanbul Straße", "ﬁne ①", "Ǆ", "ŁØÐ", "x" * 500):
        assert name_key(name_key(name)) == name_key(name)
