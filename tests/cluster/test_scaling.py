"""More replicas under load, fewer without it, and what the death of one costs."""

import threading
import time

import httpx
import pytest

from deployments.reaping import end
from tests.servers import bright_patches, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
DEPLOYMENT = "FaceDetection"
CALLERS = 4


class Load:
    """Callers who ask for faces without a pause, and count how it goes."""

    def __init__(self, url):
        self.url, self.stopping = url, threading.Event()
        self.good, self.bad = 0, []
        self.last_good = 0.0
        self.threads = [threading.Thread(target=self.call) for _ in range(CALLERS)]

    def call(self):
        image = bright_patches(4)
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            while not self.stopping.is_set():
                answer = client.post(
                    "/api/v1/faces/detect", content=image, headers={"content-type": "image/jpeg"}
                )
                if answer.status_code == 200:
                    self.good += 1
                    self.last_good = time.monotonic()
                else:
                    self.bad.append((answer.status_code, answer.text))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def sized(server):
    """Deploy with other sizes, and put the old ones back afterwards."""
    yield server.redeploy
    server.redeploy()


def replicas(server):
    return server.named(f"ServeReplica:omma:{DEPLOYMENT}")


def test_a_deployment_grows_under_load_and_shrinks_without_it(server, sized):
    def scales(deployments):
        options = deployments[DEPLOYMENT]
        del options["num_replicas"]
        options["autoscaling_config"] = {
            "min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 1,
            "upscale_delay_s": 0.5, "downscale_delay_s": 1,
            "look_back_period_s": 2, "metrics_interval_s": 0.5,
        }  # fmt: skip

    sized(scales)
    until(lambda: len(replicas(server)) == 1)

    with Load(server.instance.url) as load:
        until(lambda: len(replicas(server)) == 2, 90)
    until(lambda: len(replicas(server)) == 1, 90)

    assert load.bad == []


def test_the_death_of_one_of_two_replicas_costs_its_own_requests_at_most(server, sized):
    sized(lambda deployments: deployments[DEPLOYMENT].update(num_replicas=2))
    first, _second = until(lambda: len(found := replicas(server)) == 2 and found)

    with Load(server.instance.url) as load:
        until(lambda: load.good > 50)
        before = load.good
        end([first], grace_s=0)
        until(lambda: first not in (now := replicas(server)) and len(now) == 2, 90)
        until(lambda: load.good > before + 50)

    assert len(load.bad) <= CALLERS, load.bad


def test_a_single_replica_that_dies_is_replaced(server, record_testsuite_property):
    [only] = until(lambda: replicas(server))

    with Load(server.instance.url) as load:
        until(lambda: load.good > 20)
        end([only], grace_s=0)
        died, before = time.monotonic(), load.good
        until(lambda: load.good > before + CALLERS, 90)

    recovery_s = round(time.monotonic() - died, 1)
    record_testsuite_property("recovery_s", recovery_s)
    assert recovery_s < 60
