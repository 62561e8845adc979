import json
import pickle
import time
import uuid

import pytest

from omma.api.bodies import PIECE_BYTES
from omma.api.items import json_items, line_items
from omma.domain.errors import (
    InvalidInput,
    OmmaError,
    TooManyBytes,
    TooManyRequests,
    Unavailable,
)
from omma.domain.jobs import Completed
from omma.services.batches import at_item
from omma.services.intake import JobRules
from omma.services.tokens import Gatekeeper
from tests.job_fakes import MemoryJobs
from tests.service_fakes import MemoryBlobs, NamedTokens

BATCH = "/api/v1/batch"
LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture
def memory():
    return MemoryJobs()


@pytest.fixture
def blobs():
    return MemoryBlobs()


@pytest.fixture
def client(connect_with, memory, blobs):
    gate, rules = Gatekeeper(NamedTokens()), JobRules(max_batch_items=1200)
    client = connect_with(memory=memory, blobs=blobs, gate=gate, rules=rules)
    client.headers["authorization"] = "Bearer ann"
    return client


def items(count):
    return [{"media_store_id": str(number)} for number in range(count)]


def lines(members):
    return "\n".join(map(json.dumps, members)) + "\n"


async def submit(client, count):
    body = {"type": "face_embedding", "items": items(count)}
    answer = await client.post(f"{BATCH}/submit", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_batch_becomes_its_jobs(client, memory):
    answer = await submit(client, 1001)

    assert answer["success"]
    assert answer["total"] == len(memory.rows) == 1001
    assert answer["job_id"] == answer["batch_id"]
    assert {row.available_at for row in memory.rows.values()} == {memory.now_ms}
    assert [row.job.asked.position for row in memory.rows.values()] == list(range(1001))


async def test_what_came_of_a_slow_batch_is_recorded_in_time(client, memory, monkeypatch):
    monkeypatch.setattr("omma.services.batches.CHUNK_S", 0.0)
    found = []
    record = memory.store.submit

    async def submitted(submissions, *, quota):
        found.append(len(submissions))
        return await record(submissions, quota=quota)

    monkeypatch.setattr(memory.store, "submit", submitted)

    await submit(client, 3)

    assert found == [1, 1, 1]


async def test_a_batch_may_come_in_lines(client, memory):
    answer = await client.post(f"{BATCH}/submit?type=image", content=lines(items(7)), headers=LINES)

    assert answer.json()["total"] == len(memory.rows) == 7


@pytest.mark.parametrize(
    ("members", "index"),
    [
        ([*items(700), {"priority": 0, "media_store_id": "x"}], 700),
        ([*items(3), {}], 3),
        ([*items(3), 7], 3),
        ([*items(3), None], 3),
        ([*items(3), {"media_store_id": "1"}], 3),
        ([*items(3), {"media_store_id": "x", "params": {"nonsense": 1}}], 3),
        ([*items(3), {"media_store_id": "x", "idempotency_key": "k"}], 3),
        ([*items(3), {"image_data": {"data": "***"}}], 3),
    ],
    ids=["priority", "nothing", "number", "null", "duplicate", "params", "key", "base64"],
)
@pytest.mark.parametrize("form", ["json", "lines"])
async def test_one_bad_item_refuses_them_all_with_its_place(client, memory, members, index, form):
    body = {"type": "face_embedding", "items": members}
    how = {"json": body} if form == "json" else {"content": lines(members), "headers": LINES}

    answer = await client.post(f"{BATCH}/submit?type=face_embedding", **how)

    assert answer.status_code in {409, 422}
    assert f"item {index}: " in answer.json()["error"]
    assert memory.rows == memory.opened == {}


@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "image", "items": []}',
        b'{"type": "image", "items": {}}',
        b'{"type": "image"}',
        b'{"items": [{"media_store_id": "1"}]}',
        b'{"type": "nonsense", "items": [{"media_store_id": "1"}]}',
        b'{"type": "image", "items": [{"media_store_id": "1"}]',
        b'{"type": "image", "items": [{"media_store_id": "1"}, {"a',
        b"[]",
        b"7",
        b"",
        b"nonsense",
    ],
)
async def test_what_is_no_batch_is_422_and_leaves_nothing(client, memory, body):
    headers = {"content-type": "application/json"}

    answer = await client.post(f"{BATCH}/submit", content=body, headers=headers)

    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "422"
    assert memory.rows == memory.opened == {}


async def test_a_batch_has_so_many_items_at_most(client, memory):
    body = {"type": "image", "items": items(1201)}

    answer = await client.post(f"{BATCH}/submit", json=body)

    assert answer.status_code == 422
    assert memory.rows == {}


async def test_a_batch_whose_client_leaves_is_abandoned(client, memory):
    async def body():
        yield lines(items(600)).encode()
        raise ConnectionResetError

    await client.post(f"{BATCH}/submit?type=image", content=body(), headers=LINES)

    assert memory.rows == memory.opened == {}


async def test_a_batch_is_counted_and_listed(client, memory):
    batch_id = (await submit(client, 4))["batch_id"]
    [held] = await memory.queue.claim("r", ["face_embedding"], limit=1, lease_s=30)
    await memory.queue.settle([Completed(held.hold, {"faces": []})])

    path = f"{BATCH}/{batch_id}/status"
    first = (await client.get(path, params={"limit": 3})).json()
    second = (await client.get(path, params={"cursor": first["next_cursor"]})).json()

    assert (first["status"], first["total"], first["progress_percentage"]) == ("processing", 4, 25)
    assert first["counts"]["completed"] == 1
    assert first["counts"]["pending"] == 3
    assert (len(first["items"]), len(second["items"])) == (3, 1)
    assert second["items"][0]["status"] == "completed"
    assert second["next_cursor"] is None


async def test_a_batch_is_cancelled_as_a_whole(client):
    batch_id = (await submit(client, 3))["batch_id"]

    answer = await client.post(f"{BATCH}/{batch_id}/cancel")

    assert answer.json()["cancelled"] == 3
    status = (await client.get(f"{BATCH}/{batch_id}/status")).json()
    assert (status["status"], status["progress_percentage"]) == ("cancelled", 100)


async def test_unknown_and_foreign_batches_read_alike(client):
    batch_id = (await submit(client, 1))["batch_id"]
    bob = {"authorization": "Bearer bob"}

    foreign = await client.get(f"{BATCH}/{batch_id}/status", headers=bob)
    unknown = await client.get(f"{BATCH}/{uuid.UUID(int=7)}/status", headers=bob)
    no_id = await client.get(f"{BATCH}/nonsense/status", headers=bob)

    texts = {answer.json()["error"] for answer in (foreign, unknown, no_id)}
    assert len(texts) == 1
    assert {answer.status_code for answer in (foreign, unknown, no_id)} == {404}


async def pieces(text, size):
    for at in range(0, len(text), size):
        yield text[at : at + size]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_items_are_read_from_pieces_of_any_size(size):
    members = [{"a": [1, {"b": 2.5}]}, 7, [[]], "x", None, {}]
    body = {"more": {"items": [1]}, "type": "t", "items": members, "after": [{}]}
    kinds = []

    found = [
        item async for item in json_items(pieces(json.dumps(body).encode(), size), 1000, kinds)
    ]

    assert found == members
    assert kinds == ["t"]


@pytest.mark.parametrize(
    "body", [b'{"items": [{"a": "' + b"x" * 5000, b'{"items": [' + b"[" * 5000]
)
async def test_an_item_that_does_not_end_is_refused_in_time(body):
    with pytest.raises((TooManyBytes, InvalidInput)):
        async for _ in json_items(pieces(body, 100), 1000, []):
            pass


def in_lines(text):
    return line_items(pieces(text, PIECE_BYTES), 2**25)


def in_json(text):
    return json_items(pieces(b'{"items": [' + text + b"]}", PIECE_BYTES), 2**25, [])


async def seconds_to_read(read, size):
    started = time.process_time()
    found = [len(item) async for item in read(b'"' + b"x" * size + b'"')]
    took_s = time.process_time() - started
    assert found == [size]
    return took_s


@pytest.mark.parametrize("read", [in_lines, in_json])
async def test_an_item_takes_time_in_proportion_to_its_length(read):
    small_s = max([await seconds_to_read(read, 2**21) for _ in range(3)])

    large_s = min([await seconds_to_read(read, 2**24) for _ in range(3)])

    assert large_s < 8 * 3 * small_s  # 64 times that, were each piece joined to all before it


@pytest.mark.parametrize("read", [in_lines, in_json])
@pytest.mark.parametrize("tree", [b"[" + b"1," * 30_000 + b"1]", b"[" * 30_000])
async def test_an_item_of_much_structure_is_refused(read, tree):
    with pytest.raises(InvalidInput, match="item 0: expected less structure"):
        async for _ in read(tree):
            pass


@pytest.mark.parametrize("read", [in_lines, in_json])
async def test_an_item_is_refused_as_soon_as_it_is_too_long(read):
    with pytest.raises(TooManyBytes, match="item 0: expected at most"):
        async for _ in read(b'"' + b"x" * 2**25):
            pass


def all_below(family):
    for each in family.__subclasses__():
        yield each
        yield from all_below(each)


@pytest.mark.parametrize("kind", list(all_below(OmmaError)))
def test_an_error_of_an_item_is_the_same_error_with_its_place(kind):
    error = kind("zz", 7) if issubclass(kind, Unavailable | TooManyRequests) else kind("zz")

    placed = at_item(3, error)

    assert str(placed) == f"item 3: {error}"
    assert type(placed) is kind
    assert getattr(placed, "retry_after_s", 7) == 7
    assert str(pickle.loads(pickle.dumps(placed))) == str(placed)


async def test_an_item_of_an_unknown_model_is_told_which_there_are(client):
    item = {"url": "https://example.com/a.jpg", "params": {"models": ["zz"]}}

    answer = await client.post(f"{BATCH}/submit", json={"type": "face_embedding", "items": [item]})

    assert answer.status_code == 404
    assert answer.json()["error_code"] == "model_not_found"
    assert answer.json()["error"].startswith("item 0: no model named 'zz', expected one of ")
