import re

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    negative_data_rejection,
    positive_data_acceptance,
)

from omma.api.app import ApiOptions, UploadLimits, build_api
from omma.domain.errors import TokenInvalid
from omma.domain.tokens import DEMO
from omma.services.intake import JobRules
from omma.services.tokens import Gatekeeper, RateLimits
from tests.card_fakes import card_service
from tests.fakes import picture
from tests.service_fakes import fake_services

TOKEN = "good"  # noqa: S105  made up
IMAGE_FORMS = {"multipart/form-data", "image/*", "application/octet-stream", "application/json"}


class OneToken:
    async def verify(self, token):
        if token != TOKEN:
            raise TokenInvalid("not signed by a key we trust")
        return DEMO


GATE = Gatekeeper(OneToken(), RateLimits(requests_per_s=1e6, burst=1_000_000))
app = build_api(fake_services(gate=GATE), ApiOptions())
schema = schemathesis.openapi.from_asgi("/openapi.json", app).exclude(path_regex="/events$")


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    del context
    return value if isinstance(value, bytes) else str(value).encode()


@schema.auth()
class Bearer:
    def get(self, case, context):
        del case, context
        return TOKEN

    def set(self, case, data, context):
        del context
        case.headers["Authorization"] = f"Bearer {data}"


@schema.parametrize()
@settings(max_examples=10, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_the_document_promises(case):
    excluded = [positive_data_acceptance]  # any bytes fit the schema, few are images
    if case.path.endswith("/batch"):
        excluded.append(negative_data_rejection)  # of several files a bad one fails alone
    if case.path.startswith("/job/"):
        excluded.append(allow_header_conformance)  # by task and by id: 405 knows the first alone
    case.call_and_validate(excluded_checks=excluded)


@pytest.mark.parametrize("route", ["detect", "embed"])
def test_the_document_names_every_form_of_an_image(route):
    operation = app.openapi()["paths"][f"/api/v1/faces/{route}"]["post"]

    assert operation["requestBody"]["content"].keys() == IMAGE_FORMS


def test_every_route_that_reads_a_body_documents_its_problems():
    for operations in app.openapi()["paths"].values():
        for operation in operations.values():
            if "requestBody" in operation:
                answers = operation["responses"].keys()
                assert {"408", "413", "415", "500", "503"} <= answers
                assert answers & {"422", "400"}  # 400 where a contract documents it


def most_items(document, path, kind, *keys):
    schema = document["paths"][path]["post"]["requestBody"]["content"][kind]["schema"]
    for key in keys:
        schema = schema["properties"][key] if key != "items of" else schema["items"]
    return schema["maxItems"]


@pytest.mark.parametrize(("images", "of_job", "items"), [(4, 7, 1200), (9, 3, 50)])
def test_the_most_items_of_the_document_are_those_of_the_settings(images, of_job, items):
    services = fake_services(rules=JobRules(max_images=of_job, max_batch_items=items))
    document = build_api(services, ApiOptions(uploads=UploadLimits(max_images=images))).openapi()

    batch, queue = "/api/v1/batch/submit", "/api/v1/queue/submit/{job_type}"
    form = "multipart/form-data"
    assert most_items(document, "/api/v1/faces/embed/batch", form, "file") == images
    assert most_items(document, batch, "application/json", "items") == items
    assert most_items(document, batch, "application/json", "items", "items of", "images") == of_job
    assert most_items(document, queue, "application/json", "images") == of_job


@pytest.mark.parametrize(
    "path",
    ["/api/v1/faces/detect", "/api/v1/images/embed", "/api/v1/cards/recognise", "/job/card_match"],
)
async def test_two_files_for_one_are_told_a_route_that_takes_them(path):
    api = build_api(fake_services(cards=card_service()), ApiOptions())
    files = [("file", picture()), ("file", picture())]

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(api), base_url="http://localhost"
    ) as client:
        answer = await client.post(path, files=files)

    [named] = re.findall(r"/api\S+", answer.json()["detail"])
    assert answer.status_code == 422
    assert "post" in api.openapi()["paths"][named]
    assert ("faces" in named) == ("faces" in path)
