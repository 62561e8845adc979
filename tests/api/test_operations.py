"""Routes that follow from an operation's declaration alone."""

import base64

import httpx
import numpy as np
import pytest

from omma.api.access import rules_of
from omma.api.app import ApiOptions, UploadLimits, build_api
from omma.domain.errors import NotReady, TokenMissing
from omma.domain.faces import Lane
from omma.domain.tokens import DEMO, SUPPORT, Principal
from omma.operations.registry import OPERATIONS, bind
from tests.fakes import DIMENSION, FakeImageEmbedder, FakeUrlFetcher, capabilities, picture
from tests.service_fakes import fake_services

EMBED = "/api/v1/images/embed"
NOBODY = Principal("stranger")


class FakeGate:
    """Knows two tokens; none at all is the demo's."""

    is_open = False  # whatever page a browser comes from

    async def admit(self, token):
        match token:
            case None:
                return DEMO
            case "stranger":
                return NOBODY
            case _:
                raise TokenMissing("no token of ours")


@pytest.fixture
def embedder():
    return FakeImageEmbedder()


@pytest.fixture
def urls():
    return FakeUrlFetcher()


@pytest.fixture
def seen():
    return []


@pytest.fixture
def app(embedder, urls, seen):
    bound = bind(capabilities(embedder=embedder), OPERATIONS, seen.append)
    options = ApiOptions(uploads=UploadLimits(max_bytes=100_000))
    return build_api(fake_services(urls=urls, gate=FakeGate(), operations=bound), options)


@pytest.fixture
async def client(app):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost"
    ) as client:
        yield client


async def test_an_image_is_embedded(client):
    answer = await client.post(EMBED, files={"file": picture()})

    assert answer.status_code == 200
    body = answer.json()
    assert body["image"] == {"width": 640, "height": 480}
    assert (body["model"], body["embedding"]["space"]) == ("fake_model", "fake_space")
    assert body["embedding"]["dimension"] == DIMENSION
    assert np.linalg.norm(body["embedding"]["values"]) == pytest.approx(1, abs=1e-5)
    assert set(body["timings_ms"]) == {"decode", "embed", "total"}
    assert body["timings_ms"]["decode"] == 1.23


async def test_an_embedding_in_base64_holds_the_same_numbers(client):
    numbers = (await client.post(EMBED, files={"file": picture()})).json()["embedding"]
    text = (await client.post(f"{EMBED}?encoding=base64", files={"file": picture()})).json()

    values = np.frombuffer(base64.b64decode(text["embedding"]["values"]), "<f4")
    assert values.tolist() == pytest.approx(numbers["values"])


@pytest.mark.parametrize(
    "body",
    [
        {"files": {"file": picture()}},
        {"content": picture(), "headers": {"content-type": "image/jpeg"}},
        {"json": {"image": base64.b64encode(picture()).decode()}},
        {"json": {"url": "https://pictures.example/one.jpg"}},
    ],
    ids=["form", "bytes", "base64", "url"],
)
async def test_an_image_may_come_in_every_documented_form(client, urls, embedder, body):
    urls.pages["https://pictures.example/one.jpg"] = picture()

    answer = await client.post(EMBED, **body)

    assert answer.status_code == 200
    assert embedder.asked == [([picture()], Lane.INTERACTIVE)]


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"no image", 422, "undecodable_image"),
        (b"", 422, "empty_image"),
        (b"bomb", 413, "too_many_pixels"),
        (b"x" * 100_001, 413, "too_many_bytes"),
    ],
)
async def test_what_cannot_be_embedded_is_told_as_a_problem(client, image, status, code):
    answer = await client.post(EMBED, files={"file": image})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_encoding_that_nobody_knows_is_refused(client, embedder):
    answer = await client.post(f"{EMBED}?encoding=hex", files={"file": picture()})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert embedder.asked == []


async def test_a_model_that_is_not_ready_asks_to_come_back(client, embedder):
    embedder.fault = NotReady("loading", 5)

    answer = await client.post(EMBED, files={"file": picture()})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(("token", "status"), [("stranger", 403), ("forged", 401)])
async def test_a_token_without_the_operations_permission_reaches_no_model(
    client, embedder, token, status
):
    answer = await client.post(
        EMBED, files={"file": picture()}, headers={"authorization": f"Bearer {token}"}
    )

    assert answer.status_code == status
    assert embedder.asked == []


async def test_a_request_is_counted_as_its_operations(client, seen):
    await client.post(EMBED, files={"file": picture()})

    assert [(each.operation, each.images, each.errors) for each in seen] == [
        ("image_embedding", 1, ())
    ]


async def test_the_registry_lists_every_operation(client):
    rows = (await client.get("/api/v1/operations")).json()["operations"]

    assert [each["name"] for each in rows] == [each.name for each in OPERATIONS]
    [images] = [each for each in rows if each["name"] == "image_embedding"]
    assert images["route"] == "POST /api/v1/images/embed"
    assert images["permission"] == SUPPORT
    assert images["entity"] == "image"
    assert "encoding" in images["params"]["properties"]


def test_openapi_describes_a_generated_route_like_any_other(app):
    described = app.openapi()["paths"][EMBED]["post"]

    assert [each["name"] for each in described["parameters"]] == ["encoding"]
    assert "multipart/form-data" in described["requestBody"]["content"]
    answer = described["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["$ref"].endswith("/ImageEmbedAnswer")
    assert described["tags"] == ["images"]


def test_operations_with_routes_of_their_own_get_no_second_one(app):
    asked = [(rule.method, rule.path) for rule in rules_of(app)]

    for operation in OPERATIONS:
        assert asked.count(("POST", operation.path)) == 1
