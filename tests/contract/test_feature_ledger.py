"""What the ledger of features promises: no picture is looked at twice, none is forgotten."""

from dataclasses import replace

import pytest

from omma.domain.cards import CardId, ItemId
from omma.ports.cards import Extracted
from tests.index_records import card

ONE = card("one", "One", "a")
TWO = card("two", "Two", "b", "c")
KEY = "sift-1"


@pytest.fixture
async def known(stores):
    """Three pictures of two cards that nobody has looked at."""
    await stores.cards.upsert([ONE, TWO], seen_in="1")
    return stores


def item(card_id, face=0):
    return ItemId(CardId(card_id), face)


def good(card_id, picture, shard="s1", face=0):
    return Extracted(item(card_id, face), picture, shard=shard, keypoints=100)


def bad(card_id, picture, face=0, **more):
    return Extracted(item(card_id, face), picture, error="url_timeout: slow", **more)


ALL = [good("one", "a"), good("two", "b"), good("two", "c", "s2", face=1)]


async def missing(stores, key=KEY, limit=10, max_tries=3):
    found = await stores.ledger.missing(key, limit=limit, max_tries=max_tries)
    count = await stores.ledger.count_missing(key, max_tries=max_tries)
    assert len(found) == min(count, limit)
    return [(each.card_id, each.face.image_key, each.tries) for each in found]


async def test_every_new_picture_is_missing(known):
    assert await missing(known) == [("one", "a", 0), ("two", "b", 0), ("two", "c", 0)]
    assert await missing(known, limit=2) == [("one", "a", 0), ("two", "b", 0)]


async def test_faces_come_whole(known):
    found = await known.ledger.missing(KEY, limit=10, max_tries=1)

    assert [each.face for each in found] == [*ONE.faces, *TWO.faces]


async def test_what_was_made_is_missing_no_more_and_lies_where_it_was_told(known):
    await known.ledger.record(KEY, ALL)

    assert await missing(known) == []
    shards = await known.ledger.shards(KEY)
    assert list(shards.items()) == [
        ("s1", [item("one"), item("two")]),
        ("s2", [item("two", 1)]),
    ]


async def test_what_failed_comes_after_what_is_new_though_it_cost_no_try(known):
    await known.ledger.record(KEY, [bad("one", "a", is_counted=False)])

    assert await missing(known) == [("two", "b", 0), ("two", "c", 0), ("one", "a", 0)]


async def test_pictures_that_were_given_are_told_of_the_cards_that_there_are(known):
    await known.ledger.record(KEY, [good("two", "b"), bad("two", "c", face=1)])

    assert await known.ledger.given(KEY, limit=9) == [TWO.faces[0]]
    assert await known.ledger.given("sift-2", limit=9) == []
    await known.ledger.record(KEY, [good("one", "a")])
    assert await known.ledger.given(KEY, limit=1) == [ONE.faces[0]]


async def test_a_repetition_changes_nothing(known):
    found = [good("one", "a"), bad("two", "b")]

    await known.ledger.record(KEY, found)
    await known.ledger.record(KEY, found)

    assert await missing(known) == [("two", "c", 0), ("two", "b", 1)]
    assert await known.ledger.failures(KEY, limit=10) == [(item("two"), "url_timeout: slow")]


async def test_what_lay_in_a_lost_shard_is_missing_again_whatever_comes_of_it(known):
    await known.ledger.record(KEY, ALL)

    await known.ledger.forget(["s1", "unknown"])
    await known.ledger.forget([])
    await known.ledger.record(KEY, [bad("one", "a")])

    assert await missing(known) == [("two", "b", 0), ("one", "a", 1)]
    assert await known.ledger.shards(KEY) == {"s2": [item("two", 1)]}
    assert await known.ledger.kept() == {"s2"}


async def test_a_failure_that_is_not_counted_leaves_a_picture_its_tries(known):
    for _ in range(3):
        await known.ledger.record(KEY, [bad("one", "a", is_counted=False)])

    assert ("one", "a", 0) in await missing(known, max_tries=1)
    assert await known.ledger.failures(KEY, limit=9) == [(item("one"), "url_timeout: slow")]


async def test_nothing_found_is_nothing_recorded(known):
    await known.ledger.record(KEY, [])

    assert len(await missing(known)) == 3


async def test_a_picture_is_tried_as_often_as_it_may_be(known):
    for tries in range(3):
        [seen] = [each for each in await missing(known) if each[1] == "a"]
        await known.ledger.record(KEY, [bad("one", "a", tries=seen[2])])
        assert seen[2] == tries

    assert await missing(known) == [("two", "b", 0), ("two", "c", 0)]
    assert ("one", "a", 3) in await missing(known, max_tries=4)


async def test_those_of_fewest_tries_come_first(known):
    await known.ledger.record(KEY, [bad("one", "a", tries=1), bad("two", "b")])

    assert await missing(known) == [("two", "c", 0), ("two", "b", 1), ("one", "a", 2)]
    assert await missing(known, limit=1) == [("two", "c", 0)]


async def test_a_picture_that_failed_for_good_is_left_out(known):
    await known.ledger.record(KEY, [bad("one", "a", is_final=True)])
    await known.ledger.record(KEY, [bad("one", "a")])  # a late word changes nothing of that

    assert await missing(known) == [("two", "b", 0), ("two", "c", 0)]
    assert len(await known.ledger.failures(KEY, limit=10)) == 1


async def test_a_success_after_failures_is_a_success(known):
    await known.ledger.record(KEY, [bad("one", "a")])
    await known.ledger.record(KEY, [good("one", "a")])

    assert await known.ledger.failures(KEY, limit=10) == []
    assert await known.ledger.shards(KEY) == {"s1": [item("one")]}


async def test_a_failure_that_is_told_late_takes_no_success_away(known):
    await known.ledger.record(KEY, ALL)

    await known.ledger.record(KEY, [bad("one", "a")])

    assert item("one") in (await known.ledger.shards(KEY))["s1"]
    assert await missing(known) == []


async def test_another_picture_is_missing_and_what_the_old_one_came_to_is_forgotten(known):
    await known.ledger.record(KEY, [*ALL[1:], bad("one", "a", is_final=True)])

    await known.cards.upsert([card("one", "One", "a2"), card("two", "Two", "b2", "c")], seen_in="2")

    assert await missing(known) == [("one", "a2", 0), ("two", "b2", 0)]
    assert await known.ledger.shards(KEY) == {"s2": [item("two", 1)]}
    assert await known.ledger.failures(KEY, limit=10) == []


async def test_a_face_told_anew_with_the_same_picture_is_not_looked_at_again(known):
    await known.ledger.record(KEY, ALL)
    renamed = replace(ONE, name="Uno", faces=(replace(ONE.faces[0], name="Uno"),))

    await known.cards.upsert([renamed], seen_in="2")

    assert await missing(known) == []


async def test_what_is_told_of_a_picture_that_changed_meanwhile_is_void(known):
    await known.cards.upsert([card("one", "One", "a2")], seen_in="2")

    await known.ledger.record(KEY, [good("one", "a"), bad("one", "a", is_final=True)])

    assert ("one", "a2", 0) in await missing(known)
    assert await known.ledger.shards(KEY) == {}


async def test_faces_that_nobody_knows_are_passed_over(known):
    await known.ledger.record(KEY, [good("three", "x"), good("one", "a", face=7), good("one", "a")])

    assert await known.ledger.shards(KEY) == {"s1": [item("one")]}


@pytest.mark.parametrize("other", ["sift-0", "sift-2"])
async def test_features_of_another_key_are_made_anew(known, other):
    await known.ledger.record(other, [*ALL[:2], bad("two", "c", face=1, is_final=True)])

    assert await missing(known) == [("one", "a", 0), ("two", "b", 0), ("two", "c", 0)]
    assert await known.ledger.shards(KEY) == {}
    assert await known.ledger.failures(KEY, limit=10) == []


async def test_removed_cards_are_neither_missing_nor_read(known):
    await known.ledger.record(KEY, ALL[1:])
    await known.cards.upsert([ONE], seen_in="2")
    await known.cards.remove_unseen("2")

    assert await missing(known) == [("one", "a", 0)]
    assert await known.ledger.shards(KEY) == {}


async def test_shards_of_removed_cards_are_kept_for_their_return(known):
    await known.ledger.record(KEY, ALL)
    await known.cards.upsert([ONE], seen_in="2")
    await known.cards.remove_unseen("2")
    kept = await known.ledger.kept()

    await known.cards.upsert([ONE, TWO], seen_in="3")

    assert kept == {"s1", "s2"}
    assert list(await known.ledger.shards(KEY)) == ["s1", "s2"]
    assert await missing(known) == []


async def test_no_more_failures_are_told_than_asked_for(known):
    await known.ledger.record(KEY, [bad("one", "a"), bad("two", "b"), bad("two", "c", face=1)])

    found = await known.ledger.failures(KEY, limit=2)

    assert [each for each, _ in found] == [item("one"), item("two")]


async def test_more_than_a_page_is_read_in_whole_and_in_order(stores):
    many = [card(f"c{number:04}", "Opt", f"k{number}") for number in range(1201)]
    await stores.cards.upsert(many, seen_in="1")

    missing = await stores.ledger.missing(KEY, limit=1100, max_tries=3)
    await stores.ledger.record(KEY, [good(one.card_id, one.face.image_key) for one in missing])

    names = [each.card_id for each in many[:1100]]
    assert [each.card_id for each in missing] == names
    assert await stores.ledger.shards(KEY) == {"s1": [item(name) for name in names]}
