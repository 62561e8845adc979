from dataclasses import replace

import httpx
import pytest

from omma.api.app import ApiOptions, UploadLimits, build_api
from tests.fakes import FakeFaceDetector, FakeStatus, FakeUrlFetcher, face_service
from tests.service_fakes import fake_services

UPLOADS = UploadLimits(max_bytes=100_000, max_images=4, max_request_bytes=150_000)
BASE_URL = "http://127.0.0.1:8000"  # without tokens, other hosts are refused
OPTIONS = ApiOptions(version="1.2.3", uploads=UPLOADS, max_interactive=6)


@pytest.fixture
def detector():
    return FakeFaceDetector()


@pytest.fixture
def urls():
    return FakeUrlFetcher()


@pytest.fixture
def status():
    return FakeStatus()


@pytest.fixture
def build(detector, urls, status):
    """Builds the application; keywords change its options."""

    def build(*, blobs=None, **options):
        services = fake_services(
            faces=face_service(detector), urls=urls, status=status, blobs=blobs
        )
        return build_api(services, replace(OPTIONS, **options))

    return build


@pytest.fixture
async def reach():
    """Opens a client of an application."""
    clients = []

    def reach(app):
        transport = httpx.ASGITransport(app)
        clients.append(httpx.AsyncClient(transport=transport, base_url=BASE_URL))
        return clients[-1]

    yield reach
    for client in clients:
        await client.aclose()


@pytest.fixture
def connect(build, reach):
    """Opens a client of an application of its own, with these options."""
    return lambda **options: reach(build(**options))


@pytest.fixture
def connect_with(reach):
    """The same over services of which some are given."""
    return lambda **given: reach(build_api(fake_services(**given), OPTIONS))


@pytest.fixture
def client(connect):
    return connect()


@pytest.fixture
def build_with():
    """Builds the application over services of which some are given."""
    return lambda **given: build_api(fake_services(**given), OPTIONS)
