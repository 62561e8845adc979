"""Every port of the records, over every adapter."""

import pytest

from tests.index_records import stores
from tests.job_records import opened_records

__all__ = ["stores"]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def records_kind(request):
    return request.param


@pytest.fixture
async def records(records_kind, request):
    """Jobs without a single row."""
    async with opened_records(records_kind, _url_by(request)) as opened:
        yield opened


@pytest.fixture
async def told_records(records_kind, request):
    """The same, where a callback and the media store wait for every job."""
    options = {"default_callback": True, "media_store": True}
    async with opened_records(records_kind, _url_by(request), **options) as opened:
        yield opened


def _url_by(request):
    return lambda kind: request.getfixturevalue(f"{kind}_url")
