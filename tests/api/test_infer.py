"""`POST /infer` as the card service documents it, and what clients get wrong."""

import base64
import struct
from dataclasses import replace

import pytest

from omma.domain.errors import IndexMissing, ModelFault, StoreUnavailable, TokenInvalid
from omma.domain.faces import Lane
from omma.domain.tokens import SUPPORT, Principal
from omma.services.tokens import Gatekeeper
from omma.wire.cards import InferAnswer
from tests.card_fakes import (
    BLUE,
    BOLT,
    GREEN,
    RED,
    YELLOW,
    FakeCardMatcher,
    card_service,
    memory_records,
    photo,
)
from tests.samples import png_chunk

NO_IMAGE = {"error": "No ROI image uploaded."}
NOT_AN_IMAGE = {"error": "Invalid image format."}
FORM = "multipart/form-data; boundary=x"


@pytest.fixture
def matcher():
    return FakeCardMatcher()


@pytest.fixture
def client(connect_with, matcher):
    return connect_with(cards=card_service(matcher))


def sent(image, name="card.jpg"):
    return {"files": {"roi_image": (name, image)}}


def bomb():
    """A header of 50 megapixels and more before a few bytes."""
    head = png_chunk(b"IHDR", struct.pack(">LLBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", b"x") + png_chunk(b"IEND", b"")


async def test_a_card_is_answered_as_documented(client, matcher):
    answer = await client.post("/infer", **sent(photo(RED)))

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "predicted_card_id": "00000001-0000-4000-8000-000000000000",
        "predicted_card_name": "Red Bolt",
        "finishes": ["nonfoil", "foil"],
        "set": "apc",
        "set_name": "Apocalypse",
        "prices": {"usd": "3.50", "eur": None},
        "image_uris": {"normal": "https://cards.example/1.jpg"},
        "collector_number": "1",
    }
    [(_, options, lane)] = matcher.asked
    assert (options.max_cards, options.is_crop, lane) == (1, True, Lane.INTERACTIVE)


async def test_the_back_of_a_card_is_the_card(client):
    answer = await client.post("/infer", **sent(photo(BLUE)))

    assert answer.json()["predicted_card_name"] == "Blue Sun // Blue Moon"


@pytest.mark.parametrize(
    ("colours", "error"),
    [((), "No matching card found."), ((YELLOW,), "Card not found in database.")],
)
async def test_no_card_is_told_in_the_documented_words(client, colours, error):
    answer = await client.post("/infer", **sent(photo(*colours)))

    assert (answer.status_code, answer.json()) == (404, {"error": error})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"files": {"file": ("card.jpg", photo(RED))}},
        {"files": {"roi_image": (None, b"")}},
        {"content": b"", "headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"content": b"--x--\r\n", "headers": {"content-type": FORM}},
    ],
    ids=["nothing", "another field", "an empty field", "an empty form", "a form of no parts"],
)
async def test_no_image_is_told_in_the_documented_words(client, matcher, body):
    answer = await client.post("/infer", **body)

    assert (answer.status_code, answer.json()) == (400, NO_IMAGE)
    assert matcher.asked == []


@pytest.mark.parametrize(
    "image",
    [b"", b"no image", photo(RED)[:9], b"%PDF-1.7", b"truncated"],
    ids=["empty", "text", "cut short", "pdf", "truncated"],
)
async def test_what_is_no_image_is_told_in_the_documented_words(client, image):
    answer = await client.post("/infer", **sent(image))

    assert (answer.status_code, answer.json()) == (400, NOT_AN_IMAGE)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"content": photo(RED), "headers": {"content-type": "image/jpeg"}}, 415),
        ({"json": {"roi_image": base64.b64encode(photo(RED)).decode()}}, 415),
        ({"data": {"roi_image": "text"}}, 415),
        ({"files": [("roi_image", photo(RED)), ("roi_image", photo(RED))]}, 400),
        ({"content": b"--x\r\nbroken", "headers": {"content-type": FORM}}, 400),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400),
        (sent(bomb()), 413),
        (sent(b"x" * 100_001), 413),
        (sent(b"x" * 300_000), 413),
    ],
    ids=[
        "bytes", "json", "urlencoded", "two images", "a broken form", "no boundary",
        "many pixels", "many bytes", "a large body",
    ],
)  # fmt: skip
async def test_other_mistakes_have_their_true_status_in_the_same_shape(client, body, status):
    answer = await client.post("/infer", **body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert {"error"} <= set(answer.json()) <= {"error", "details"}


async def test_an_image_may_be_of_every_format_and_name(client):
    for kind in ("PNG", "WEBP", "BMP", "GIF"):
        picture = photo(RED, kind=kind, width=160, height=200)
        answer = await client.post("/infer", **sent(picture, "../../x.exe"))
        assert answer.status_code == 200, kind


async def test_a_missing_index_asks_to_come_back(client, matcher):
    matcher.fault = IndexMissing("no index of cards was published yet", 5)

    answer = await client.post("/infer", **sent(photo(RED)))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json() == {
        "error": "no index of cards was published yet",
        "details": "index_missing",
    }


async def test_records_that_are_away_ask_to_come_back(connect_with):
    records = memory_records()
    records.is_down = True

    answer = await connect_with(cards=card_service(records=records)).post(
        "/infer", **sent(photo(RED))
    )

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["details"] == StoreUnavailable.code


async def test_overload_asks_to_come_back(build_with, reach):
    app = build_with(cards=card_service())
    app.state.context.admission.take(Lane.INTERACTIVE, 6)

    answer = await reach(app).post("/infer", **sent(photo(RED)))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["details"] == "overloaded"


@pytest.mark.parametrize("fault", [RuntimeError("secret path /srv"), ModelFault("secret")])
async def test_a_fault_of_ours_tells_nothing_of_its_inside(client, matcher, fault):
    matcher.fault = fault

    answer = await client.post("/infer", **sent(photo(RED)))

    assert answer.status_code == 500
    assert answer.json()["error"] == "Error fetching card details"
    assert set(answer.json()) == {"error", "details"}
    assert "secret" not in answer.text


class Tokens:
    async def verify(self, token):
        if token == "bad":  # noqa: S105  made up
            raise TokenInvalid("not signed by a key we trust")
        return Principal("anna", frozenset({SUPPORT} if token == "good" else ()))  # noqa: S105


@pytest.mark.parametrize(
    ("token", "status"), [(None, 401), ("bad", 401), ("poor", 403), ("good", 200)]
)
async def test_only_who_may_compute_is_let_in(connect_with, token, status):
    client = connect_with(cards=card_service(), gate=Gatekeeper(Tokens()))
    headers = {"authorization": f"Bearer {token}"} if token else {}

    answer = await client.post("/infer", **sent(photo(GREEN)), headers=headers)

    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert status == 200 or {"error"} <= set(answer.json()) <= {"error", "details"}


async def test_where_the_feature_is_off_the_route_says_so(connect_with):
    answer = await connect_with(cards=None).post("/infer", **sent(photo(RED)))

    assert answer.status_code == 404
    assert answer.json() == {"error": "Card recognition is not configured."}


@pytest.mark.parametrize(
    ("printed", "answered"),
    [("007", "7"), ("150", "150"), ("0", "0"), ("", ""), ("0a", "a"), ("A-001", "A-001")],
)
def test_a_collector_number_loses_its_leading_zeros(printed, answered):
    card = replace(BOLT, collector_number=printed)

    assert InferAnswer.of(card).collector_number == answered
