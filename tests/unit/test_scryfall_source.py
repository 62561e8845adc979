"""Cards of a server that speaks as Scryfall's API does, on good and on bad days."""

import gzip
from dataclasses import replace

import pytest

from benchmarks.drawing import sample_specs
from omma.domain.cards import CardFace
from omma.domain.errors import (
    MediaNotFound,
    OmmaError,
    SourceCorrupt,
    SourceFault,
    SourceUnavailable,
    StoreUnavailable,
    TooManyBytes,
    UrlRefused,
    UrlTimeout,
    UrlUnreachable,
)
from omma.stores.cards.scryfall import ScryfallOptions, ScryfallSource
from omma.stores.web import Pace, Patience
from tests.scryfall_server import BULK, Scryfall

QUICK = Patience(timeout_s=10.0, tries=3, backoff_s=0.001, max_wait_s=1.0)


@pytest.fixture
async def scryfall():
    async with Scryfall() as server:
        server.pictures["/p.png"] = b"picture"
        server.add_sample(12)
        yield server


@pytest.fixture
async def opened(scryfall):
    sources = []

    def opened(**options):
        given = {"url": scryfall.url, "requests_per_s": 1000, "patience": QUICK} | options
        sources.append(ScryfallSource(ScryfallOptions(**given)))
        return sources[-1]

    yield opened
    for source in sources:
        await source.close()


@pytest.fixture
def source(opened):
    return opened()


async def read(source, work):
    return [card async for chunk in source.cards(work) for card in chunk]


def face(scryfall, path="/p.png"):
    return CardFace(0, "Name", f"{scryfall.url}{path}", "key")


# Records


async def test_every_card_comes_with_its_records(scryfall, source, tmp_path):
    cards = await read(source, tmp_path)

    assert [card.card_id for card in cards] == list(scryfall.cards)
    first = cards[0]
    told = scryfall.cards[first.card_id]
    assert first.prices == {"usd": "0.25", "eur": None}
    assert first.finishes == ("nonfoil", "foil")
    assert (first.name, first.set_code) == (told["name"], told["set"])
    assert first.image_uris["large"].startswith(scryfall.url)


async def test_cards_of_two_faces_have_two_pictures(source, tmp_path):
    [card] = [card for card in await read(source, tmp_path) if card.layout == "transform"]

    front, back = card.faces
    assert (front.number, back.number) == (0, 1)
    assert front.image_url != back.image_url
    assert card.name == f"{front.name} // {back.name}"
    assert "/front/" in card.image_uris["png"]


@pytest.mark.parametrize("layout", ["split", "flip", "adventure"])
async def test_two_parts_in_one_picture_are_one_face(scryfall, source, tmp_path, layout):
    parts = [
        {"name": "Fire", "illustration_id": "left"},
        {"name": "Ice", "illustration_id": "right"},
    ]
    [card_id, *_] = scryfall.cards
    scryfall.change(card_id, layout=layout, name="Fire // Ice", card_faces=parts)
    scryfall.change(card_id, illustration_id="left")

    card = (await read(source, tmp_path))[0]

    [only] = card.faces
    assert (only.name, only.illustration) == ("Fire // Ice", "left+right")


@pytest.mark.parametrize(
    "change",
    [
        {"layout": "art_series"},
        {"layout": "planar"},
        {"games": ["mtgo"]},
        {"lang": "ja"},
        {"digital": True},
        {"promo": True},
    ],
)
async def test_what_is_no_printed_card_is_left_out(scryfall, source, tmp_path, change):
    [card_id, *others] = scryfall.cards
    scryfall.change(card_id, **change)

    assert [card.card_id for card in await read(source, tmp_path)] == others


async def test_meld_cards_and_unknown_promo_are_cards(scryfall, source, tmp_path):
    [card_id, *_] = scryfall.cards
    scryfall.change(card_id, layout="meld", promo=None)

    assert (await read(source, tmp_path))[0].card_id == card_id


async def test_any_language_may_be_chosen(scryfall, opened, tmp_path):
    [card_id, *_] = scryfall.cards
    scryfall.change(card_id, lang="ja")

    assert len(await read(opened(language=""), tmp_path)) == 12
    assert len(await read(opened(language="ja"), tmp_path)) == 1


@pytest.mark.parametrize("change", [{"image_uris": None}, {"image_status": "placeholder"}])
async def test_a_card_without_pictures_is_known_but_has_no_face(scryfall, source, tmp_path, change):
    [card_id, *_] = scryfall.cards
    scryfall.change(card_id, **change)

    assert (await read(source, tmp_path))[0].faces == ()


async def test_a_picture_is_another_when_its_url_says_so(scryfall, source, tmp_path):
    [first, second, *_] = scryfall.cards
    before = {card.card_id: card for card in await read(source, tmp_path)}

    scryfall.repaint(first, sample_specs(1, seed=5)[0])

    after = {card.card_id: card for card in await read(source, tmp_path)}
    assert after[first].faces[0].image_key != before[first].faces[0].image_key
    assert after[second].faces == before[second].faces


async def test_of_a_url_without_time_its_status_tells(scryfall, source, tmp_path):
    [card_id, *_] = scryfall.cards
    uris = {"large": "/large/x.jpg"}
    scryfall.change(card_id, image_uris=uris, image_status="lowres", highres_image=False)
    low = (await read(source, tmp_path))[0].faces[0]
    scryfall.change(card_id, image_status="highres_scan", highres_image=True)

    high = (await read(source, tmp_path))[0].faces[0]

    assert low.image_url == high.image_url
    assert low.image_key != high.image_key


# The bulk file


@pytest.mark.parametrize("is_packed", [True, False])
async def test_an_unchanged_bulk_file_is_not_asked_for_again(scryfall, opened, tmp_path, is_packed):
    scryfall.is_packed = is_packed
    first = await read(opened(), tmp_path)

    again = await read(opened(), tmp_path)

    assert again == first
    assert scryfall.count(BULK) == 1
    assert scryfall.count("/bulk-data") == 2


async def test_one_of_another_date_but_the_same_content_is_not_sent_again(
    scryfall, source, tmp_path
):
    await read(source, tmp_path)
    scryfall.touch()

    await read(source, tmp_path)
    await read(source, tmp_path)

    assert [each.status for each in scryfall.asked if each.path == BULK] == [200, 304]


async def test_a_changed_one_takes_the_place_of_the_old(scryfall, source, tmp_path):
    await read(source, tmp_path)
    [card_id, *others] = scryfall.cards
    scryfall.remove(card_id)

    assert [card.card_id for card in await read(source, tmp_path)] == others
    assert len(list(tmp_path.glob("*.data"))) == 1


async def test_a_body_that_breaks_off_is_continued(scryfall, source, tmp_path):
    scryfall.fail(BULK, cut_at=400)
    scryfall.fail(BULK, cut_at=300)

    cards = await read(source, tmp_path)

    assert len(cards) == 12
    asked = [each for each in scryfall.asked if each.path == BULK]
    assert [each.headers.get("range") for each in asked] == [None, "bytes=400-", "bytes=700-"]
    assert [each.status for each in asked] == [200, 206, 206]


async def test_a_later_process_continues_what_an_earlier_one_began(scryfall, opened, tmp_path):
    scryfall.fail(BULK, cut_at=400)
    scryfall.fail(BULK, 500, times=2)
    with pytest.raises(SourceUnavailable, match="500"):
        await read(opened(), tmp_path)
    scryfall.forget()

    assert len(await read(opened(), tmp_path)) == 12
    [asked] = [each for each in scryfall.asked if each.path == BULK]
    assert asked.headers["range"] == "bytes=400-"


async def test_a_disk_that_takes_nothing_is_told(scryfall, source, tmp_path):
    (tmp_path / "scryfall-default_cards.part").mkdir()  # in the place of the file

    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await read(source, tmp_path)
    assert scryfall.count(BULK) == 1


async def test_what_changed_meanwhile_is_begun_anew(scryfall, opened, tmp_path):
    scryfall.fail(BULK, cut_at=400)
    scryfall.fail(BULK, 500, times=2)
    with pytest.raises(SourceUnavailable):
        await read(opened(), tmp_path)
    scryfall.remove(next(iter(scryfall.cards)))

    assert len(await read(opened(), tmp_path)) == 11


async def test_without_etag_what_broke_off_is_begun_anew(scryfall, source, tmp_path):
    scryfall.has_etag = False
    scryfall.fail(BULK, cut_at=400)

    assert len(await read(source, tmp_path)) == 12


@pytest.mark.parametrize(
    "body",
    [
        b'[{"id": "a", "name": "b", "games": ["paper"], "lang": "en"},',
        b"<html>sorry</html>",
        b"[1, 2]",
        b'[{"games": ["paper"], "lang": "en"}]',
        b"[]",
        gzip.compress(b"[]" * 500, mtime=0)[:-20],
    ],
)
async def test_a_bulk_file_that_is_none_is_told_and_not_kept(scryfall, source, tmp_path, body):
    scryfall.fail(BULK, body=body)
    with pytest.raises(SourceCorrupt):
        await read(source, tmp_path)
    scryfall.touch()

    assert len(await read(source, tmp_path)) == 12


async def test_a_broken_bulk_file_is_not_kept_even_for_the_same_date(scryfall, source, tmp_path):
    scryfall.fail(BULK, body=b'[{"id":')
    with pytest.raises(SourceCorrupt, match="not whole"):
        await read(source, tmp_path)

    assert len(await read(source, tmp_path)) == 12


async def test_a_bulk_file_that_leads_elsewhere_is_refused(scryfall, source, tmp_path):
    scryfall.fail(BULK, 302, location="http://elsewhere.example/cards.json")

    with pytest.raises(SourceCorrupt, match="https"):
        await read(source, tmp_path)


async def test_redirects_on_the_own_host_are_followed(scryfall, source, tmp_path):
    scryfall.fail("/bulk-data", 302, location=f"{scryfall.url}/bulk-data")

    assert len(await read(source, tmp_path)) == 12


async def test_a_bulk_file_of_another_name_is_told(opened, tmp_path):
    with pytest.raises(SourceCorrupt, match=r"'rulings' among default_cards, oracle_cards"):
        await read(opened(bulk="rulings"), tmp_path)


# Manners


async def test_requests_say_who_asks(scryfall, opened, tmp_path):
    await read(opened(contact="ops@example.org"), tmp_path)

    headers = scryfall.asked[0].headers
    assert headers["user-agent"].startswith("omma/")
    assert headers["user-agent"].endswith("(ops@example.org)")
    assert headers["accept"].startswith("application/json")


async def test_requests_keep_their_distance():
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    pace = Pace(2, sleep=sleep)
    for _ in range(4):
        await pace.wait()

    assert waits == [pytest.approx(gap, abs=0.1) for gap in (0.5, 1.0, 1.5)]


async def test_patience_that_is_asked_for_is_had(scryfall, source, tmp_path):
    scryfall.fail("/bulk-data", 429, retry_after="0")
    scryfall.fail("/bulk-data", 500)

    assert len(await read(source, tmp_path)) == 12


async def test_more_patience_than_there_is_ends_the_night(scryfall, source, tmp_path):
    scryfall.fail("/bulk-data", 429, retry_after="3600")

    with pytest.raises(SourceUnavailable, match="429") as raised:
        await read(source, tmp_path)

    assert raised.value.retry_after_s == 3600
    assert scryfall.count("/bulk-data") == 1


async def test_a_server_that_is_not_there_is_unavailable(opened, tmp_path, unused_tcp_port):
    with pytest.raises(SourceUnavailable, match="no connection"):
        await read(opened(url=f"http://127.0.0.1:{unused_tcp_port}"), tmp_path)


async def test_a_plan_is_made_without_fetching_anything(scryfall, source):
    plan = await source.plan()

    assert (plan.source, plan.is_exact) == ("scryfall", False)
    assert plan.cards > 0
    assert plan.download_bytes > plan.faces * 100_000
    assert plan.hours > 0
    assert scryfall.count(BULK) == 0


# Searches


async def test_a_search_is_read_page_by_page(scryfall, opened, tmp_path):
    scryfall.page_size = 5
    scryfall.fail("/cards/search", 429, retry_after="0")
    source = opened(bulk="search:set:dwn game:paper")

    cards = await read(source, tmp_path)

    assert [card.card_id for card in cards] == list(scryfall.cards)
    assert scryfall.count("/cards/search") == 4
    assert "q=set%3Adwn+game%3Apaper" in scryfall.asked[0].query
    assert (await source.plan()).cards == 12


async def test_a_search_that_ends_too_soon_is_told(scryfall, opened, tmp_path):
    short = b'{"object": "list", "total_cards": 9, "has_more": false, "data": []}'
    scryfall.fail("/cards/search", body=short)

    with pytest.raises(SourceCorrupt, match="expected 9 cards, got 0"):
        await read(opened(bulk="search:x"), tmp_path)


async def test_a_search_that_goes_round_ends(scryfall, opened, tmp_path):
    page = f'{{"has_more": true, "next_page": "{scryfall.url}/cards/search?page=2", "data": []}}'
    scryfall.fail("/cards/search", body=page.encode(), times=-1)

    with pytest.raises(SourceCorrupt, match="read before"):
        await read(opened(bulk="search:x"), tmp_path)


async def test_a_page_that_is_no_list_is_told(scryfall, opened, tmp_path):
    scryfall.fail("/cards/search", body=b"[1]")

    with pytest.raises(SourceCorrupt, match="list"):
        await read(opened(bulk="search:x"), tmp_path)


# Pictures


async def test_a_picture_comes_as_it_is(scryfall, source, tmp_path):
    card = (await read(source, tmp_path))[0]

    assert (await source.image(card.faces[0])).startswith(b"\xff\xd8")
    assert await source.image(face(scryfall)) == b"picture"


async def test_one_that_fails_once_is_asked_for_again(scryfall, source):
    scryfall.fail("/p.png", 500)
    scryfall.fail("/p.png", cut_at=3)

    assert await source.image(face(scryfall)) == b"picture"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 404}, MediaNotFound),
        ({"status": 403}, UrlUnreachable),
        ({"status": 500}, SourceFault),
        ({"status": 429}, SourceFault),
        ({"status": 503, "retry_after": "900"}, SourceFault),
        ({"cut_at": 2}, UrlUnreachable),
        ({"body": b""}, UrlUnreachable),
        ({"body": b"x" * 101}, TooManyBytes),
        ({"status": 302, "location": "http://10.0.0.1/p.png"}, UrlRefused),
        ({"status": 302, "location": "/p.png"}, UrlUnreachable),
    ],
)
async def test_what_becomes_of_a_picture_that_does_not_come(scryfall, opened, fault, error):
    source = opened(max_image_bytes=100)
    scryfall.fail("/p.png", times=-1, **fault)

    with pytest.raises(error):
        await source.image(face(scryfall))


async def test_errors_name_the_host_and_nothing_of_what_was_asked_of_it(scryfall, opened):
    scryfall.fail("/cards/search", 403)
    scryfall.fail("/cards/search", body=b"[1]")
    scryfall.fail("/p.png", 404)
    source, told = opened(bulk="search:secret"), []

    for ask in (source.plan, source.plan, lambda: source.image(face(scryfall, "/p.png?key=1"))):
        with pytest.raises(OmmaError) as raised:
            await ask()
        told.append(str(raised.value))

    assert told[0] == "127.0.0.1 answered with status 403"
    assert not any("secret" in each or "/" in each for each in told)


async def test_of_the_pictures_the_one_that_is_large_enough_is_fetched(scryfall, source, tmp_path):
    [card_id, *_] = scryfall.cards
    uris = {"png": "/1.png", "large": "/1.jpg", "normal": "/1.small.jpg"}
    scryfall.change(card_id, image_uris=uris)

    card = (await read(source, tmp_path))[0]
    plan = await source.plan()

    assert card.faces[0].image_url == "/1.jpg"
    assert plan.download_bytes < plan.cards * 10_000 + plan.faces * 200_000


async def test_a_picture_that_takes_too_long_is_given_up(scryfall, opened):
    source = opened(patience=replace(QUICK, timeout_s=0.05))
    scryfall.fail("/p.png", times=-1, wait_s=0.3)

    with pytest.raises(UrlTimeout):
        await source.image(face(scryfall))


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example/p.png",
        "file:///etc/passwd",
        "https://u:p@x.example/",
        f"https://{'x' * 64}.example/",
        "https://x.example:22/",
        "\0",
    ],
)
async def test_a_picture_elsewhere_without_https_is_refused(source, url):
    with pytest.raises(UrlRefused):
        await source.image(CardFace(0, "Name", url, "key"))
