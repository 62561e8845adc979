import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    negative_data_rejection,
    positive_data_acceptance,
)

from omma.api.app import ApiOptions, build_api
from omma.domain.errors import TokenInvalid
from omma.domain.tokens import DEMO
from omma.services.tokens import Gatekeeper, RateLimits
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
