"""Ray's own errors as a rebuild's farm takes them."""

import os
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)

from deployments import nightly
from deployments.nightly import RayFarm, yielding
from omma.domain.cards import CardFace, CardId
from omma.domain.errors import ReplicaLost, StoreUnavailable
from omma.ports.cards import Extracted, Unextracted
from omma.ports.indexes import ExtractTask, JudgeTask
from omma.settings import IndexSettings, Settings

JUDGE = JudgeTask("cards", "b", "a", 1)


class Answers:
    """A Ray function that answers with what ``act`` answers or raises."""

    def __init__(self, act):
        self.act = act
        self.asked = []

    def remote(self, settings, task):
        del settings
        self.asked.append(task)
        return self

    def future(self):
        ended = Future()
        try:
            ended.set_result(self.act(self.asked[-1]))
        except Exception as error:  # noqa: BLE001  whatever a task raises
            ended.set_exception(error)
        return ended


@pytest.fixture
def farm_of(monkeypatch):
    """A farm all of whose tasks do the same."""
    monkeypatch.setattr(nightly, "PAUSE_S", 0.0)

    def farm_of(answers):
        monkeypatch.setattr(nightly, "remote_task", lambda _function: answers)
        return RayFarm(Settings(indexes=IndexSettings(max_tasks=1)))

    return farm_of


def faces(count):
    return tuple(
        Unextracted(CardId(f"c{at}"), CardFace(0, "Name", "", "key"), 0) for at in range(count)
    )


def raising(*errors):
    left = list(errors)

    def act(_task):
        if left:
            raise left.pop(0)
        return "answer"

    return Answers(act)


LOST = [
    WorkerCrashedError(),
    NodeDiedError("gone"),
    LocalRayletDiedError(),
    OutOfMemoryError("killed"),
]


@pytest.mark.parametrize("error", LOST)
async def test_a_task_that_was_lost_is_tried_again(farm_of, error):
    assert await farm_of(raising(error)).judge(JUDGE) == "answer"


@pytest.mark.parametrize("error", LOST)
async def test_one_that_is_always_lost_ends_as_our_error(farm_of, error):
    answers = raising(*[error] * 100)

    with pytest.raises(ReplicaLost, match=type(error).__name__):
        await farm_of(answers).judge(JUDGE)

    assert len(answers.asked) <= 4


async def test_what_a_task_itself_raises_is_not_tried_again(farm_of):
    ours = RayTaskError("f", "traceback", StoreUnavailable("away", 5))
    theirs = RayTaskError("f", "traceback", ValueError("no"))

    for error, expected in ((ours, StoreUnavailable), (theirs, RayTaskError)):
        answers = raising(error)
        with pytest.raises(expected):
            await farm_of(answers).judge(JUDGE)
        assert len(answers.asked) == 1


async def test_of_a_task_that_needs_too_much_memory_the_picture_is_found(farm_of):
    def act(task):
        if any(face.card_id == "c3" for face in task.faces):
            raise OutOfMemoryError("killed")
        return [Extracted(None, "key") for _ in task.faces]

    answers = Answers(act)

    async def tasks():
        yield ExtractTask("features/1.h5", faces(8))

    rows = [row async for some in farm_of(answers).extract(tasks()) for row in some]

    assert len(rows) == 8
    [bad] = [row for row in rows if row.error]
    assert (bad.item.card_id, bad.is_final) == ("c3", True)
    assert len(answers.asked) <= 2 * 4 + 3


def test_ray_itself_tries_nothing_again(monkeypatch):
    options = []
    monkeypatch.setattr(nightly.ray, "remote", lambda **given: options.append(given) or print)

    RayFarm(Settings())

    assert {each["max_retries"] for each in options} == {0}


def test_a_task_runs_behind_everything_else_and_nothing_else_with_it():
    before = niceness()

    with ThreadPoolExecutor(1) as task:
        within = task.submit(yielding(niceness)).result()

    assert (within, niceness()) == (19, before)


def niceness():
    """Of the calling thread."""
    return os.getpriority(os.PRIO_PROCESS, 0)
