import os
import signal
import subprocess
import sys
import uuid

import pytest

from deployments.reaping import (
    MARKER,
    Process,
    await_end,
    end,
    find,
    is_alive,
    itself,
    marked,
    memory_mb,
    reap,
)

OBEYS = "print(flush=True); import signal; signal.pause()"
STDIN = "import sys; sys.stdin.read()"  # until the parent has gone
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + OBEYS


@pytest.fixture
def start():
    """Start Python programs that carry a mark and have begun; none outlives the test."""
    children = []

    def start(mark, program=OBEYS):
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", program],
            env=os.environ | {MARKER: mark},
            stdout=subprocess.PIPE,
        )
        children.append(child)
        child.stdout.readline()
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.fixture
def mark():
    return f"{uuid.uuid4()}@/nowhere"


def test_a_process_knows_itself():
    assert (itself().pid, is_alive(itself())) == (os.getpid(), True)


def test_a_pid_that_nobody_has_is_no_process():
    assert find(2**22 + 1) is None


def test_another_process_with_the_same_pid_is_not_the_one_recorded():
    recorded = Process(os.getpid(), itself().started - 1)

    assert not is_alive(recorded)


def test_only_what_carries_the_mark_is_found(start, mark):
    ours, _theirs = start(mark), start("somebody else")

    assert [process.pid for process in marked(lambda found: found == mark)] == [ours.pid]


def test_a_child_that_has_overwritten_its_environment_is_found_by_its_parent(start, mark):
    program = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {STDIN!r}], "
    parent = start(mark, program + "env={}, stdin=subprocess.PIPE); " + OBEYS)

    found = marked(lambda found: found == mark)

    assert [process.parent for process in found if process.pid != parent.pid] == [parent.pid]


def test_ended_children_that_nobody_has_collected_are_not_alive(start, mark):
    child = start(mark)
    process = find(child.pid)

    end([process], grace_s=10)

    assert not is_alive(process)


@pytest.mark.parametrize(("program", "number"), [(OBEYS, "SIGTERM"), (STUBBORN, "SIGKILL")])
def test_reaping_asks_first_and_then_insists(start, mark, program, number):
    child = start(mark, program)

    found = reap(lambda found: found == mark, grace_s=0.2 if program is STUBBORN else 10)

    assert [process.pid for process in found] == [child.pid]
    assert child.wait() == -getattr(signal, number)


def test_reaping_ends_an_orphan_that_is_known_though_it_bears_no_mark(start, mark):
    orphan = start("")

    found = reap(lambda each: each == mark, grace_s=5, known=[find(orphan.pid), itself()],
                 spare=[os.getpid()])  # fmt: skip

    assert [each.pid for each in found] == [orphan.pid]
    assert orphan.wait(5) == -signal.SIGTERM


def test_reaping_spares_who_asks(start, mark):
    child, spared = start(mark), start(mark)

    reap(lambda found: found == mark, grace_s=10, spare={spared.pid})

    assert child.wait() == -signal.SIGTERM
    assert spared.poll() is None


def test_a_recycled_pid_is_not_hit(start, mark):
    child = start(mark)
    predecessor = Process(child.pid, find(child.pid).started - 1)

    end([predecessor], grace_s=1)

    assert child.poll() is None


def test_the_first_of_several_to_end_is_noticed(start, mark):
    children = [start(mark), start(mark)]
    children[1].kill()

    await_end([find(child.pid) or Process(child.pid, 0) for child in children])

    assert children[0].poll() is None


def test_memory_counts_what_lives():
    assert memory_mb([itself(), Process(2**22 + 1, 0)]) > 1
