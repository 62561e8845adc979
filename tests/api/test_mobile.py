"""`/api/mobile-infer`: a phone scans into a session, a computer reads it."""

import uuid

import pytest

from omma.domain.tokens import SUPPORT, Principal
from omma.services.scans import ScanLimits, Scans
from omma.services.tokens import Gatekeeper, RateLimits
from tests.card_fakes import GREEN, RED, YELLOW, FakeCardMatcher, card_service, photo
from tests.index_fakes import MemoryCardSessions

CREATE = "/api/mobile-infer/create"
NOT_FOUND = {"error": "Session not found"}
MINUTE_S = 60


class Tokens:
    async def verify(self, token):
        return Principal(token, frozenset({SUPPORT} if token == "good" else ()))  # noqa: S105


@pytest.fixture
def sessions():
    return MemoryCardSessions()


@pytest.fixture
def matcher():
    return FakeCardMatcher()


@pytest.fixture
def client(connect_with, sessions, matcher):
    return connect_with(
        cards=card_service(matcher, scans=Scans(sessions)), gate=Gatekeeper(Tokens())
    )


async def created(client):
    answer = await client.post(CREATE, headers={"authorization": "Bearer good"})
    assert answer.status_code == 200
    return answer.json()["session_id"]


async def submit(client, session_id, image=None, field="roi_image"):
    files = {field: ("card.jpg", photo(RED) if image is None else image)}
    return await client.post(f"/api/mobile-infer/submit/{session_id}", files=files)


async def read(client, session_id):
    return await client.get(f"/api/mobile-infer/result/{session_id}")


async def test_a_scan_without_a_token_is_read_without_one(client):
    session_id = await created(client)
    before = await read(client, session_id)

    scan = await submit(client, session_id)

    assert str(uuid.UUID(session_id)) == session_id
    assert before.json() == {"completed": False, "result": None}
    assert (scan.status_code, scan.json()["status"]) == (200, "success")
    after = (await read(client, session_id)).json()
    assert set(after) == {"completed", "result_id", "result"}
    assert after["completed"] is True
    assert after["result"]["predicted_card_name"] == "Red Bolt"
    assert scan.json() == {"status": "success", **after["result"]}


async def test_the_last_scan_is_the_one_that_is_read(client):
    session_id = await created(client)
    await submit(client, session_id)
    first = (await read(client, session_id)).json()

    await submit(client, session_id, photo(GREEN))
    second = (await read(client, session_id)).json()

    assert first["result_id"] != second["result_id"]
    assert second["result"]["predicted_card_name"] == "Green Élf"


@pytest.mark.parametrize(
    ("image", "status", "error"),
    [
        (photo(), 404, "No matching card found"),
        (photo(YELLOW), 404, "Card ID not found"),
        (b"no image", 400, "Invalid image"),
        (b"", 400, "Invalid image"),
    ],
    ids=["no card", "a card that was removed", "no image", "nothing"],
)
async def test_a_scan_that_shows_no_card_leaves_the_session_as_it_was(client, image, status, error):
    session_id = await created(client)

    answer = await submit(client, session_id, image)

    assert (answer.status_code, answer.json()) == (status, {"error": error})
    assert (await read(client, session_id)).json()["completed"] is False


async def test_a_scan_without_its_field_is_told_in_the_documented_words(client):
    answer = await submit(client, await created(client), field="file")

    assert (answer.status_code, answer.json()) == (400, {"error": "Missing roi_image"})


@pytest.mark.parametrize("session_id", [str(uuid.UUID(int=1)), "x", "%00", "..%2f"])
async def test_an_unknown_session_is_not_found_and_costs_nothing(client, matcher, session_id):
    scan, result = await submit(client, session_id), await read(client, session_id)

    assert {scan.status_code, result.status_code} == {404}
    assert matcher.asked == []


async def test_unknown_and_expired_sessions_answer_alike(client, sessions, matcher):
    session_id = await created(client)
    sessions.advance(55 * MINUTE_S - 1)
    assert (await read(client, session_id)).status_code == 200

    sessions.advance(2)

    for each in (session_id, str(uuid.UUID(int=1))):
        for answer in (await submit(client, each), await read(client, each)):
            assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    assert matcher.asked == []


async def test_a_session_that_ends_while_its_scan_is_looked_at_is_over(client, sessions, matcher):
    session_id = await created(client)
    matcher.recognise = _late(matcher.recognise, sessions)

    answer = await submit(client, session_id)

    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


def _late(recognise, sessions):
    async def late(images, options, *, lane):
        sessions.advance(56 * MINUTE_S)
        return await recognise(images, options, lane=lane)

    return late


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("poor", 403)])
async def test_only_who_may_compute_opens_a_session(client, token, status):
    headers = {"authorization": f"Bearer {token}"} if token else {}

    answer = await client.post(CREATE, headers=headers)

    assert answer.status_code == status
    assert "error" in answer.json()


async def test_too_many_sessions_and_too_many_scans_are_told_to_wait(connect_with, sessions):
    limits = ScanLimits(max_open=1, rate=RateLimits(0.001, 2))
    client = connect_with(
        cards=card_service(scans=Scans(sessions, limits)), gate=Gatekeeper(Tokens())
    )
    session_id = await created(client)

    another = await client.post(CREATE, headers={"authorization": "Bearer good"})
    scans = [await submit(client, session_id) for _ in range(3)]

    assert (another.status_code, another.json()["details"]) == (429, "quota_exceeded")
    assert [each.status_code for each in scans] == [200, 200, 429]
    assert scans[-1].json()["details"] == "rate_limited"
    assert "retry-after" in scans[-1].headers


async def test_a_scan_is_held_to_the_limits_of_uploads(client):
    answer = await submit(client, await created(client), b"x" * 30_000_000)

    assert (answer.status_code, answer.json()["details"]) == (413, "too_many_bytes")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "create"), ("POST", "submit/x"), ("GET", "result/x")]
)
async def test_where_the_feature_is_off_every_route_says_so(connect_with, method, path):
    answer = await connect_with(cards=None).request(method, f"/api/mobile-infer/{path}")

    assert answer.status_code == 404
    assert answer.json() == {"error": "Card recognition is not configured."}
