"""Start and end, kind and unkind: nothing may stay behind."""

import os
import signal
import stat

import pytest

from deployments.reaping import end, is_alive
from tests.servers import STOP_S, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def starting(new_server):
    """A server in the midst of its start: Ray is there, the graph is not."""
    server = new_server()
    server.start()
    server.await_ray()
    yield server
    server.close()


@pytest.fixture
def ready(new_server):
    """A server that answers."""
    server = new_server()
    server.start()
    server.await_ready()
    yield server
    server.close()


def test_ctrl_c_during_the_start_leaves_nothing(starting):
    assert (starting.home / "ray").is_dir()  # with folders in it that anybody may enter
    assert stat.S_IMODE(starting.home.stat().st_mode) == 0o700

    starting.process.send_signal(signal.SIGINT)

    assert starting.process.wait(STOP_S) == 0
    assert starting.processes == []
    assert starting.instance is None


def test_down_ends_a_server_that_another_terminal_started(starting):
    result = starting.run("omma.cli.main", "down")

    assert result.returncode == 0, result.stderr
    assert starting.process.wait(STOP_S) == 0
    assert starting.processes == []


def test_a_command_that_is_killed_takes_its_server_along(starting):
    starting.process.kill()

    until(lambda: not starting.processes, STOP_S)


def test_a_server_that_is_killed_is_cleaned_up_by_its_command(starting):
    victim = starting.instance.process

    end([victim], grace_s=0)

    assert starting.process.wait(STOP_S) == 1
    assert starting.processes == []


def test_a_server_whose_words_nobody_reads_any_more_stops_as_after_ctrl_c(new_server):
    server = new_server()
    reader, writer = os.pipe()
    server.start(output=writer)
    os.close(writer)
    server.await_ready()

    os.close(reader)

    assert server.process.wait(STOP_S) == 0
    assert server.processes == []
    assert server.instance is None


def test_what_a_killed_server_left_is_reaped_at_the_next_start(ready):
    before, victim = ready.processes, ready.instance.process
    ready.process.send_signal(signal.SIGSTOP)  # it shall not clean up
    end([victim], grace_s=0)
    ready.process.kill()
    ready.process.wait()
    left = ready.processes

    ready.start()
    until(lambda: ready.instance and ready.instance.process != victim)

    commands = " ".join(process.command for process in before)
    assert all(each in commands for each in ("raylet", "haproxy", "ray::ServeReplica"))
    assert left
    assert [process for process in before if is_alive(process)] == []
    assert "that an earlier instance left behind" in ready.log.read_text()
    assert ready.stop() == 0
    assert ready.processes == []
