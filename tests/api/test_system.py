import re

import pytest

from omma.domain.status import SystemState

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("state", "code"),
    [(SystemState.HEALTHY, 200), (SystemState.DEGRADED, 200), (SystemState.STARTING, 503)],
)
async def test_health_tells_the_state(client, status, state, code):
    status.state = state

    answer = await client.get("/health")

    assert answer.status_code == code
    assert answer.json() == {
        "status": state,
        "version": "1.2.3",
        "model_loaded": code == 200,
        "gpu_available": False,
        "deployments": {"Ingress": "HEALTHY"},
        "database": "healthy",
        "worker": "healthy",
        "queue_size": 0,
        "suggested_polling_interval": 30,
    }
    assert ("retry-after" in answer.headers) == (code == 503)


async def test_metrics_are_prometheus_text(client):
    answer = await client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.text.endswith("up 1\n")


async def test_the_front_page_tells_programs_what_listens(client):
    answer = await client.get("/")

    assert answer.status_code == 200
    documented = {"status": "ok", "service": "inference-service", "docs_url": "/apidocs"}
    assert documented.items() <= answer.json().items()
    assert answer.json()["name"] == "omma"


@pytest.mark.parametrize("path", ["/apidocs", "/apidocs/"])
async def test_the_card_services_documentation_is_ours(client, path):
    answer = await client.get(path, follow_redirects=True)

    assert (answer.status_code, answer.url.path) == (200, "/docs")


async def test_the_front_page_sends_browsers_to_the_docs(client):
    answer = await client.get("/", headers=BROWSER)

    assert answer.status_code == 302
    assert answer.headers["location"].endswith("docs")


async def test_the_docs_load_nothing_from_elsewhere(client):
    page = (await client.get("/docs")).text

    links = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page)
    assert len(links) >= 4
    for link in links:
        assert "//" not in link
        assert (await client.get(f"/{link}")).status_code == 200


@pytest.mark.parametrize(
    ("deployments", "worker"),
    [
        ({"Ingress": "HEALTHY", "JobRunner": "UPDATING"}, "updating"),
        ({"Ingress": "UNHEALTHY"}, "unhealthy"),  # the runner lives in it
        ({}, "unknown"),
    ],
)
async def test_the_worker_is_what_runs_jobs(client, status, deployments, worker):
    status.deployments = deployments

    assert (await client.get("/health")).json()["worker"] == worker
