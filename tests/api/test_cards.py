"""`/api/v1/cards`: whole photographs, records, corrections."""

import base64
import struct

import pytest

from omma.domain.errors import IndexMissing
from omma.domain.tokens import SUPPORT, Principal
from omma.services.tokens import Gatekeeper
from tests.card_fakes import (
    BLUE,
    BOLT,
    ELF,
    GREEN,
    MOON,
    RED,
    REPRINT,
    SNAPSHOT,
    YELLOW,
    FakeCardMatcher,
    card_service,
    photo,
)
from tests.index_fakes import MemoryCorrections
from tests.samples import png_chunk

RECOGNISE, CORRECTIONS = "/api/v1/cards/recognise", "/api/v1/cards/corrections"
URL = "https://pictures.example/table.jpg"


@pytest.fixture
def matcher():
    return FakeCardMatcher()


@pytest.fixture
def corrections():
    return MemoryCorrections()


@pytest.fixture
def client(connect_with, matcher, corrections, urls):
    urls.pages[URL] = photo(RED)
    return connect_with(cards=card_service(matcher, corrections=corrections), urls=urls)


def file(image):
    return {"files": {"file": ("table.jpg", image)}}


async def test_every_card_of_a_photograph_is_answered(client):
    answer = await client.post(RECOGNISE, **file(photo(RED, BLUE)))

    assert answer.status_code == 200
    body = answer.json()
    assert body["image"] == {"width": 640, "height": 480}
    assert body["snapshot"] == SNAPSHOT
    assert set(body["timings_ms"]) == {"decode", "match", "total"}
    assert body["timings_ms"]["decode"] == 1.23
    first, second = body["cards"]
    assert (first["card_id"], first["face"], first["name"]) == (BOLT.card_id, 0, "Red Bolt")
    assert (second["card_id"], second["face"]) == (MOON.card_id, 1)
    corners = [corner for x, y in first["outline"] for corner in (x, y)]
    assert corners == pytest.approx([20, 40, 120, 40, 120, 180, 20, 180], abs=8)  # JPEG bleeds
    assert (first["score"], first["margin"], first["inliers"]) == (0.95, 0.5, 40)
    assert first["is_printing_certain"] is True
    assert (first["set"], first["collector_number"]) == ("apc", "001")
    assert [each["card_id"] for each in first["alternatives"]] == [REPRINT.card_id]
    assert (first["alternatives"][0]["score"], first["alternatives"][0]["is_printing"]) == (
        0.4,
        False,
    )


async def test_printings_of_one_art_are_answered_as_a_group(client):
    answer = await client.post(RECOGNISE, **file(photo(GREEN)))

    [card] = answer.json()["cards"]
    assert card["is_printing_certain"] is False
    assert [(each["card_id"], each["set"]) for each in card["printings"]] == [
        (ELF.card_id, "apc"),
        (REPRINT.card_id, "m11"),
    ]
    assert card["alternatives"][0]["is_printing"] is True


@pytest.mark.parametrize("colours", [(), (YELLOW,)], ids=["no card", "one that was removed"])
async def test_a_photograph_without_a_known_card_is_no_error(client, colours):
    answer = await client.post(RECOGNISE, **file(photo(*colours)))

    assert (answer.status_code, answer.json()["cards"]) == (200, [])


@pytest.mark.parametrize(
    "body",
    [
        file(photo(RED)),
        {"content": photo(RED), "headers": {"content-type": "image/jpeg"}},
        {"content": photo(RED), "headers": {"content-type": "application/octet-stream"}},
        {"json": {"image": base64.b64encode(photo(RED)).decode()}},
        {"json": {"image": f"data:image/jpeg;base64,{base64.b64encode(photo(RED)).decode()}"}},
        {"json": {"url": URL}},
    ],
    ids=["form", "image", "bytes", "base64", "data url", "url"],
)
async def test_a_photograph_may_come_in_every_documented_form(client, body):
    answer = await client.post(RECOGNISE, **body)

    assert answer.status_code == 200
    assert [each["name"] for each in answer.json()["cards"]] == ["Red Bolt"]


async def test_a_request_says_what_it_looks_for(client, matcher):
    query = "max_cards=1&max_alternatives=0&min_score=0.9&is_crop=true"

    answer = await client.post(f"{RECOGNISE}?{query}", **file(photo(RED, BLUE)))

    [card] = answer.json()["cards"]
    assert card["alternatives"] == []
    [(_, options, _)] = matcher.asked
    assert (options.max_cards, options.max_alternatives) == (1, 0)
    assert (options.min_score, options.is_crop) == (0.9, True)


@pytest.mark.parametrize(
    "query",
    [
        "max_cards=0", "max_cards=31", "max_cards=1001", "max_cards=x", "min_score=2",
        "min_score=nan", "max_alternatives=-1", "max_alternatives=51", "is_crop=perhaps",
    ],
)  # fmt: skip
async def test_what_cannot_be_looked_for_is_refused_before_the_body_is_read(client, matcher, query):
    answer = await client.post(f"{RECOGNISE}?{query}", **file(photo(RED)))

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert matcher.asked == []


HEAD = struct.pack(">LLBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
BOMB = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", HEAD) + png_chunk(b"IEND", b"")
MISTAKES = {
    "empty": (file(b""), 422, "empty_image"),
    "no body": ({}, 422, "empty_image"),
    "text": (file(b"no image"), 422, "undecodable_image"),
    "cut short": (file(b"truncated"), 422, "truncated_image"),
    "many pixels": (file(BOMB), 413, "too_many_pixels"),
    "many bytes": (file(b"x" * 100_001), 413, "too_many_bytes"),
    "another field": ({"files": {"photo": photo(RED)}}, 422, "empty_image"),
    "two files": ({"files": [("file", photo(RED))] * 2}, 422, "invalid_input"),
    "another type": (
        {"content": b"<svg/>", "headers": {"content-type": "text/xml"}},
        415,
        "unsupported_media_type",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_what_cannot_be_looked_at_is_told_as_a_problem(client, mistake):
    body, status, code = MISTAKES[mistake]

    answer = await client.post(RECOGNISE, **body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_missing_index_asks_to_come_back(client, matcher):
    matcher.fault = IndexMissing("no index of cards was published yet", 5)

    answer = await client.post(RECOGNISE, **file(photo(RED)))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["code"] == "index_missing"


async def test_a_card_is_told_by_its_id(client):
    answer = await client.get(f"/api/v1/cards/{MOON.card_id}")

    assert answer.status_code == 200
    assert answer.json()["name"] == "Blue Sun // Blue Moon"
    assert answer.json()["faces"] == [
        {"face": 0, "name": "Blue Sun"},
        {"face": 1, "name": "Blue Moon"},
    ]
    assert "cards.example/4/0" not in answer.text  # where a source's picture lies is its own


@pytest.mark.parametrize("card_id", ["nothing", "%00", "..%2f..%2fetc", "recognise"])
async def test_an_id_that_no_card_has_is_not_found(client, card_id):
    answer = await client.get(f"/api/v1/cards/{card_id}")

    assert answer.status_code == 404


async def test_cards_are_found_by_name(client):
    answer = await client.get("/api/v1/cards", params={"name": "ELF", "limit": 1})

    assert answer.status_code == 200
    assert [each["name"] for each in answer.json()["cards"]] == ["Green Élf"]


@pytest.mark.parametrize("query", ["", "?name=", "?name=a&limit=0", "?name=a&limit=201"])
async def test_a_search_without_a_name_is_refused(client, query):
    answer = await client.get(f"/api/v1/cards{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("name", ["\0", "%", "_", "'; drop table cards; --", "\ud83d\ude00", "  "])
async def test_a_strange_name_finds_nothing(client, name):
    answer = await client.get(
        "/api/v1/cards", params={"name": name.encode("utf-16", "surrogatepass").decode("utf-16")}
    )

    assert (answer.status_code, answer.json()) == (200, {"cards": []})


async def test_a_correction_is_kept(client, corrections):
    said = {
        "card_id": MOON.card_id, "face": "1", "claimed_card_id": BOLT.card_id,
    }  # fmt: skip

    answer = await client.post(CORRECTIONS, **file(photo(RED)), data=said)

    assert answer.status_code == 201
    [kept] = corrections.added.values()
    assert answer.json() == {
        "correction_id": kept.correction_id,
        "card_id": MOON.card_id,
        "face": 1,
    }
    assert (kept.claimed.card_id, kept.created_by) == (BOLT.card_id, "demo_user")


@pytest.mark.parametrize("said", [{}, {"card_id": ""}])
async def test_a_correction_may_name_no_card(client, corrections, said):
    answer = await client.post(CORRECTIONS, files={"image": photo()}, data=said)

    assert answer.status_code == 201
    assert set(answer.json()) == {"correction_id"}
    [kept] = corrections.added.values()
    assert (kept.item, kept.claimed) == (None, None)


WRONG = {
    "no image": ({"files": {"card_id": (None, BOLT.card_id)}}, 422, "empty_image"),
    "an empty one": (file(b""), 422, "empty_image"),
    "text": (file(b"no image"), 422, "undecodable_image"),
    "many pixels": (file(BOMB), 413, "too_many_pixels"),
    "many bytes": (file(b"x" * 100_001), 413, "too_many_bytes"),
    "two": ({"files": [("file", photo(RED)), ("image", photo(RED))]}, 422, "invalid_input"),
    "an unknown card": ({**file(photo()), "data": {"card_id": "x"}}, 404, "card_not_found"),
    "an unknown face": (
        {**file(photo()), "data": {"card_id": BOLT.card_id, "face": "1"}},
        422,
        "invalid_input",
    ),
    "no number": (
        {**file(photo()), "data": {"card_id": BOLT.card_id, "face": "back"}},
        422,
        "invalid_input",
    ),
    "a long id": ({**file(photo()), "data": {"card_id": "x" * 201}}, 422, "invalid_input"),
    "bytes": (
        {"content": photo(), "headers": {"content-type": "image/jpeg"}},
        415,
        "unsupported_media_type",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
async def test_what_is_no_correction_is_refused(client, corrections, mistake):
    body, status, code = WRONG[mistake]

    answer = await client.post(CORRECTIONS, **body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert corrections.added == {}


class Tokens:
    async def verify(self, token):
        return Principal(token, frozenset({SUPPORT} if token == "good" else ()))  # noqa: S105


@pytest.mark.parametrize("token", ["good", "poor"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", RECOGNISE),
        ("POST", CORRECTIONS),
        ("GET", "/api/v1/cards/x"),
        ("GET", "/api/v1/cards?name=a"),
    ],
)
async def test_every_route_asks_for_the_permission(connect_with, method, path, token):
    client = connect_with(cards=card_service(), gate=Gatekeeper(Tokens()))

    answer = await client.request(method, path, headers={"authorization": f"Bearer {token}"})

    assert (answer.status_code == 403) == (token == "poor")  # noqa: S105


async def test_a_correction_is_its_tokens(connect_with, corrections):
    service = card_service(corrections=corrections)
    client = connect_with(cards=service, gate=Gatekeeper(Tokens()))

    await client.post(CORRECTIONS, **file(photo()), headers={"authorization": "Bearer good"})

    assert [each.created_by for each in corrections.added.values()] == ["good"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", RECOGNISE),
        ("POST", CORRECTIONS),
        ("GET", "/api/v1/cards/x"),
        ("GET", "/api/v1/cards?name=a"),
    ],
)
async def test_where_the_feature_is_off_every_route_says_so(connect_with, method, path):
    answer = await connect_with(cards=None).request(method, path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "cards.enabled" in answer.json()["detail"]


async def test_where_the_feature_is_off_there_is_no_operation(connect_with):
    client = connect_with(cards=None)

    rows = (await client.get("/api/v1/operations")).json()["operations"]
    job = await client.post("/job/card_match", **file(photo()))

    assert "card_match" not in {each["name"] for each in rows}
    assert job.status_code == 400


async def test_a_job_recognises_cards(client):
    job = await client.post(
        "/job/card_match", **file(photo(RED)), data={"params": '{"max_cards": 2}'}
    )

    assert job.status_code == 201
    assert job.json()["task_type"] == "card_match"
