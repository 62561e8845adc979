"""The health and metrics routes, while what they ask does not answer."""

import threading

import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import RayServeException

from deployments.status import UNKNOWN, ServeStatus
from omma.domain.errors import NotReady
from omma.domain.status import Health, SystemState

HEALTHY = Health(SystemState.HEALTHY, True, False, {"Ingress": "HEALTHY"})  # noqa: FBT003


@pytest.fixture
def silence():
    """What a question waits for that gets no answer; ends with the test."""
    event = threading.Event()
    yield event
    event.set()


class Answers:
    """Tells one answer after the other; raises those that are errors, waits for events."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def __call__(self):
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, threading.Event):
            answer.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_many_who_ask_share_one_answer():
    ask = Answers(HEALTHY)
    status = ServeStatus(ask)

    answers = [await status.health() for _ in range(3)]

    assert answers == [HEALTHY] * 3
    assert ask.asked == 1


async def test_a_controller_that_does_not_answer_is_asked_once_and_reported(silence):
    ask = Answers(silence)
    status = ServeStatus(ask, patience_s=0.01)

    answers = [await status.health() for _ in range(3)]

    assert answers == [UNKNOWN] * 3
    assert ask.asked == 1


@pytest.mark.parametrize("error", [RayActorError(), RayServeException("gone"), OSError("gone")])
async def test_a_controller_that_is_gone_leaves_the_last_state_degraded(monkeypatch, error):
    monkeypatch.setattr("deployments.status.FRESH_S", -1.0)
    status = ServeStatus(Answers(HEALTHY, error))
    await status.health()

    health = await status.health()

    assert health == Health(SystemState.DEGRADED, True, False, HEALTHY.deployments)  # noqa: FBT003


async def test_metrics_do_not_wait_for_a_controller_that_does_not_answer(silence):
    status = ServeStatus(Answers(silence), Answers("omma_batch_size 1\n"), patience_s=0.5)
    await status.health()

    assert await status.metrics() == "omma_batch_size 1\n"
    assert await status.metrics() == "omma_batch_size 1\n"  # asked once


async def test_metrics_that_do_not_come_are_not_ready(silence):
    status = ServeStatus(scrape=Answers(silence), patience_s=0.01)

    with pytest.raises(NotReady, match="metrics"):
        await status.metrics()
