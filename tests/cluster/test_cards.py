"""Cards on a running server: soon after its first start, and while snapshots come and go."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import cv2
import httpx
import pytest

from benchmarks.drawing import draw_card, sample_specs
from benchmarks.sample import CARDS, SEED
from omma.stores.cards.sample import SAMPLE
from tests.servers import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
FIRST_S, REBUILD_S, SWAP_S = 300, 300, 60  # on a busy machine of two cores
CALLERS, SWAPS = 32, 6
JPEG = {"content-type": "image/jpeg"}
ONE_CARD = "/api/v1/cards/recognise?max_cards=1&is_crop=true"


@pytest.fixture(scope="module")
def server(new_server):
    """A server of its own, with cards to try."""
    server = new_server()
    server.cards = "sample"
    server.start()
    server.await_ready()
    yield server
    server.stop()


def photo(number):
    """What a camera sees of a card of the sample, and the card."""
    spec = sample_specs(CARDS, SEED)[number]
    bgr = cv2.imread(str(SAMPLE / f"{spec.card_id}.webp"))
    turned = cv2.rotate(cv2.resize(bgr, None, fx=0.8, fy=0.8), cv2.ROTATE_90_CLOCKWISE)
    return cv2.imencode(".jpg", turned)[1].tobytes(), spec


def infer(client, image):
    return client.post("/infer", files={"roi_image": ("roi.jpg", image, "image/jpeg")})


def served(client):
    """The version that each replica says it serves."""
    index = client.get("/api/v1/indexes/cards").json()
    return {each["version"] for each in index["served_by"]}


@pytest.fixture
def indexed(client):
    """The server, as soon as it has an index."""
    until(lambda: served(client), FIRST_S)
    return client


@pytest.fixture
def versions(indexed):
    """Two snapshots that may be published."""
    job = until(lambda: rebuilding(indexed))
    until(lambda: is_over(indexed, job["job_id"]), REBUILD_S)
    snapshots = indexed.get("/api/v1/indexes/cards").json()["history"]
    assert len(snapshots) >= 2, snapshots
    return [each["version"] for each in snapshots[:2]]


def rebuilding(client):
    """The job of a rebuild; None while the first one still tidies up."""
    answer = client.post("/api/v1/indexes/cards/rebuild", json={"force": True})
    return None if answer.status_code == 409 else answer.json()


def is_over(client, job_id):
    job = client.get(f"/job/{job_id}").json()
    assert job["status"] in {"pending", "processing", "completed"}, job
    return job["status"] == "completed"


def publish(client, version):
    answer = client.post("/api/v1/indexes/cards/publish", json={"version": version, "force": True})
    assert answer.status_code == 200, answer.text
    until(lambda: served(client) == {version}, SWAP_S)


def test_the_sample_set_is_recognised_without_anybody_having_done_anything(indexed):
    image, spec = photo(3)

    answer = infer(indexed, image)

    assert answer.status_code == 200, answer.text
    assert answer.json()["predicted_card_name"] == spec.name


def test_an_image_without_a_card_is_told_so(indexed):
    blank = cv2.imencode(".jpg", draw_card(sample_specs(1, 99)[0])[:200, :200] // 2)[1].tobytes()

    assert infer(indexed, blank).status_code == 404


def test_index_metrics_reach_the_metrics_route(indexed):
    until(lambda: "omma_index_items{" in indexed.get("/metrics").text, 60)


def test_while_snapshots_are_published_no_request_fails_or_waits_for_them(server, versions):
    image, spec = photo(5)
    ended = threading.Event()

    def ask():
        answers = []
        with httpx.Client(base_url=server.instance.url, timeout=300, trust_env=False) as client:
            while not ended.is_set():
                answer = client.post(ONE_CARD, content=image, headers=JPEG)
                answers.append((answer.status_code, answer.json()))
        return answers

    url = server.instance.url
    with (
        ThreadPoolExecutor(CALLERS) as callers,
        httpx.Client(base_url=url, timeout=300, trust_env=False) as client,
    ):
        asked = [callers.submit(ask) for _ in range(CALLERS)]
        try:
            for number in range(SWAPS):
                publish(client, versions[number % 2])
        finally:
            ended.set()
        answers = [answer for each in asked for answer in each.result()]

    assert {status for status, _ in answers} == {200}
    assert Counter(answer["snapshot"] for _, answer in answers).keys() == set(versions)
    assert {each["card_id"] for _, answer in answers for each in answer["cards"]} == {spec.card_id}
